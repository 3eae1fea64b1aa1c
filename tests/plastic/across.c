// What a controller's state is must not depend on how the program was compiled. Built twice, for
// every x86-64-v3 and for this CPU alone:
//
//   across write FILE   plays every rule, granularity, bound, modulator and cell on drawn inputs
//   and
//                       writes key frames, rows and the whole state before every row
//   across check FILE   plays the same and compares; then materialises every row of the file from
//   its
//                       key frame and compares again. Bit for bit; exits 1 at the first difference
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plastic/controller_config.h"
#include "plastic/materialise.h"

enum { B = 19, T = 16, O = 3, OUT = 2, LATENT = 5, SHOWN = 3 };
static const int shown[SHOWN] = {0, 7, 18};  // samples that are written

typedef struct variant {
    int kind, granularity, bound, modulator, every, average, recurrent;
    double oja;
} variant;

static void must(int ok, const char* what) {
    if (!ok) {
        fprintf(stderr, "across: %s\n", what);
        exit(1);
    }
}

// Write n floats, or read as many and compare.
static void put(FILE* f, int check, const float* x, size_t n, const variant* v, const char* what) {
    if (!check) {
        must(fwrite(x, sizeof *x, n, f) == n, "the file cannot be written");
        return;
    }
    float* y = malloc(n * sizeof *y + 1);
    must(y && fread(y, sizeof *y, n, f) == n, "the file ends early");
    if (memcmp(x, y, n * sizeof *x) != 0) {
        fprintf(stderr, "across: %s differs: kind %d granularity %d bound %d modulator %d\n", what,
                v->kind, v->granularity, v->bound, v->modulator);
        exit(1);
    }
    free(y);
}

static hwm_controller* create(const variant* v) {
    hwm_controller_config config = {0};
    hwm_rule_config rule = {0};
    hwm_config_section sections[2] = {{.table = &hwm_controller_table, .target = &config},
                                      {.table = &hwm_rule_table, .target = &rule}};
    hwm_config_defaults(sections, 2);
    config.hidden.n = 2;
    config.hidden.v[0] = 5;
    config.hidden.v[1] = 4;
    config.cell = v->recurrent ? HWM_CELL_RECURRENT : HWM_CELL_MLP;
    if (v->recurrent) {  // all of it would be too many tensors
        config.plastic.n = 1;
        strcpy(config.plastic.v[0], "recurrent");
    }
    config.weights_scale = 0.4;
    rule.kind = v->kind;
    rule.granularity = v->granularity;
    rule.shared_rules = 3;
    rule.bound = v->bound;
    rule.w_max = 0.5;
    rule.decay = 0.2;
    rule.phi_std = 0.5;
    rule.eta = 0.3;
    rule.modulator = v->modulator;
    rule.update_every = v->every > 1 ? v->every : 1;
    rule.average = v->average > 1 ? v->average : 1;
    rule.oja = v->oja;
    rule.latent = LATENT;
    strcpy(rule.terms, "ABCDE");
    const float scale[O] = {0.5f, 1.0f, 3.0f};
    hwm_controller* c;
    hwm_error err = {HWM_OK, ""};
    must(hwm_controller_create(&c, &config, &rule, O, scale, OUT, false, &err) == HWM_OK, err.text);
    return c;
}

static hwm_real* reals(size_t n) {
    hwm_real* x = calloc(n + 1, sizeof *x);
    must(x != NULL, "out of memory");
    return x;
}

// Every row of the shown samples from their key frames.
static void materialise(const hwm_controller* c, const hwm_real* coef, const float* key,
                        const float* act, const float* action, const float* states,
                        const variant* v) {
    const size_t S = (size_t)hwm_controller_state_size(c),
                 X = (size_t)hwm_controller_activations(c);
    hwm_materialiser* m;
    hwm_error err = {HWM_OK, ""};
    must(hwm_materialiser_create(&m, c, &err) == HWM_OK, err.text);
    const uint8_t flags[T] = {0};
    float* state = malloc(S * sizeof *state + 1);
    must(state != NULL, "out of memory");
    for (size_t k = 0; k < SHOWN; k++) {
        for (int t = 0; t < T; t += 5) {
            hwm_materialise(m, coef, key + k * S, act + k * T * X, action + k * T * OUT, flags, t,
                            state);
            if (memcmp(state, states + (k * T + (size_t)t) * S, S * sizeof *state) != 0) {
                fprintf(stderr, "across: row %d is not what it was: kind %d bound %d\n", t, v->kind,
                        v->bound);
                exit(1);
            }
        }
    }
    free(state);
    hwm_materialiser_destroy(&m);
}

static void play(const variant* v, FILE* f, int check) {
    hwm_controller* c = create(v);
    const size_t S = (size_t)hwm_controller_state_size(c),
                 X = (size_t)hwm_controller_activations(c);
    hwm_real *phi = reals(hwm_controller_params(c)->count),
             *coef = reals((size_t)hwm_controller_coef_count(c));
    hwm_real *state = reals(hwm_lanes_size(B, (int)S)), *act = reals(hwm_lanes_size(B, (int)X));
    hwm_real *obs = reals(hwm_lanes_size(B, O)), *old = reals(hwm_lanes_size(B, O)),
             *u = reals(hwm_lanes_size(B, OUT)), *reward = reals(hwm_lanes_size(B, 1)),
             *first = reals(hwm_lanes_size(B, 1)), *z = reals((size_t)B * LATENT);
    float *acts = calloc(SHOWN * T * X, sizeof *acts), *actions = calloc(SHOWN * T * OUT, 4),
          *states = calloc(SHOWN * T * S + 1, sizeof *states);
    float* row = malloc((S + X + OUT) * sizeof *row);
    must(acts && actions && states && row, "out of memory");
    hwm_rng rng;
    hwm_rng_init(&rng, 3, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_controller_init(c, &rng, phi);
    hwm_controller_prepare(c, phi, coef);
    for (int b = 0; b < B; b++) {
        hwm_controller_reset(c, coef, &rng, state, b);
    }
    for (int t = 0; t < T; t++) {
        memcpy(old, obs, hwm_lanes_size(B, O) * sizeof *old);
        for (int b = 0; b < B; b++) {
            float drawn[O + 1];
            for (int k = 0; k <= O; k++) {
                drawn[k] = hwm_rng_normal(&rng);
            }
            hwm_lanes_set(obs, b, O, drawn);
            hwm_lanes_set(reward, b, 1, drawn + O);
            const float start = t == 0;
            hwm_lanes_set(first, b, 1, &start);
        }
        hwm_controller_input(c, B, obs, old, NULL, u, reward, first, act);
        hwm_controller_act(c, coef, B, state, act);
        for (int k = 0; k < B * LATENT; k++) {
            z[k] = (hwm_real)hwm_rng_normal(&rng);
        }
        if (hwm_controller_latent(c) > 0) {
            hwm_controller_modulate(c, hwm_controller_latent_weights(c, coef), B, z, LATENT, act);
        }
        for (int b = 0; b < B; b++) {
            hwm_lanes_get(act, b, (int)X, row);
            for (int k = 0; k < OUT; k++) {
                row[k] = row[X - OUT + (size_t)k] + 0.3f * hwm_rng_normal(&rng);
            }
            hwm_lanes_set(u, b, OUT, row);
        }
        for (size_t k = 0; k < SHOWN; k++) {
            const size_t at = k * T + (size_t)t;
            hwm_lanes_get(state, shown[k], (int)S, states + at * S);
            hwm_lanes_get(act, shown[k], (int)X, acts + at * X);
            hwm_lanes_get(u, shown[k], OUT, actions + at * OUT);
        }
        hwm_controller_learn(c, coef, B, act, u, NULL, state, NULL);
    }
    put(f, check, states, SHOWN * T * S, v, "a state");
    put(f, check, acts, SHOWN * T * X, v, "an activation");
    put(f, check, actions, SHOWN * T * OUT, v, "an action");
    float* key = malloc(SHOWN * S * sizeof *key + 1);
    must(key != NULL, "out of memory");
    for (size_t k = 0; k < SHOWN; k++) {
        memcpy(key + k * S, states + k * T * S, S * sizeof *key);
    }
    // in check these are what the file held: put has compared them
    materialise(c, coef, key, acts, actions, states, v);
    void* all[] = {phi,   coef, state, act,     obs,    old, u,  reward,
                   first, z,    acts,  actions, states, row, key};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        free(all[k]);
    }
    hwm_controller_destroy(&c);
}

int main(int argc, char** argv) {
    must(argc == 3 && (strcmp(argv[1], "write") == 0 || strcmp(argv[1], "check") == 0),
         "usage: across write|check FILE");
    const int check = strcmp(argv[1], "check") == 0;
    FILE* f = fopen(argv[2], check ? "rb" : "wb");
    must(f != NULL, "the file cannot be opened");
    int n = 0;
    for (int kind = 0; kind < HWM_RULE_KINDS; kind++) {
        const bool planes = kind <= HWM_RULE_TRACE || kind == HWM_RULE_MICONI;
        for (int bound = HWM_BOUND_NONE; bound <= HWM_BOUND_DECAY; bound++) {
            for (int g = HWM_PER_SYNAPSE; g <= (planes ? HWM_SHARED : HWM_PER_SYNAPSE); g++, n++) {
                play(&(variant){.kind = kind, .granularity = g, .bound = bound}, f, check);
            }
            const bool naive = kind >= HWM_RULE_HEBB && kind <= HWM_RULE_BCM;
            for (int m = HWM_MODULATOR_NONE; !naive && m <= HWM_MODULATOR_LATENT; m++, n++) {
                play(&(variant){.kind = kind, .bound = bound, .modulator = m, .oja = 0.3}, f,
                     check);
            }
            play(&(variant){.kind = kind, .bound = bound, .recurrent = 1, .every = 3, .average = 2},
                 f, check);
            n++;
        }
    }
    must(check ? fgetc(f) == EOF : 1, "the file holds more");
    must(fclose(f) == 0, "the file cannot be written");
    printf("%d controllers, %d rows of %d samples each: %s\n", n, T, SHOWN,
           check ? "the same bits" : "written");
    return 0;
}
