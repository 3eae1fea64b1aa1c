// data path  [1] env
//
// Sequences of symbols, for networks that must remember and learn within an episode. What is shown
// follows from a key drawn at reset and from the step alone.
//
//   predict  every episode has its own cyclic order of the symbols. Shown: one symbol a step.
//   Right: the symbol that comes next. recall   trials of `cues` symbols shown one a step, `delay`
//   empty steps, then `cues` steps with the go signal. Right: the
//            symbols in their order. Every trial draws new ones.
//
// Seen: the symbols one-hot, the go signal, and the last reward, which is the modulatory signal: 1
// right, 0 wrong or not asked. The action is a choice among the symbols.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "env/kind.h"

enum { SYMBOLS_MAX = 32, CUES_MAX = 64 };
enum { STATE_T, STATE_REWARD, STATE_KEY_LOW, STATE_KEY_HIGH, STATE_SIZE };

typedef struct series {
    uint32_t t;
    float reward;  // of the last step
    uint64_t key;
    uint32_t trial;           // that `shown` belongs to
    uint8_t shown[CUES_MAX];  // predict: the order of the symbols; recall: the cues
} series;

typedef struct sequence {
    int symbols;
    int cues, delay;  // cues 0: predict
    series series[];  // (E)
} sequence;

static hwm_status sequence_describe(const hwm_env_config* config, hwm_env_spec* spec,
                                    hwm_error* err) {
    (void)err;
    int n = (int)config->symbols;
    for (int k = 0; k < n; k++) {
        char name[24];
        snprintf(name, sizeof name, "symbol_%d", k);
        env_spec_obs(spec, name, "", 1.0, 0.0, 1.0);
        snprintf(spec->action_name[k], sizeof spec->action_name[k], "symbol_%d", k);
    }
    env_spec_obs(spec, "go", "", 1.0, 0.0, 1.0);
    env_spec_obs(spec, "reward", "", 1.0, 0.0, 1.0);
    spec->action_dim = spec->n_actions = n;
    spec->discrete = true;
    spec->time_limit = 200;
    spec->state_dim = STATE_SIZE;
    spec->init_dim = 1;
    spec->control_dt = 1.0;
    return HWM_OK;
}

static hwm_status sequence_create(void** out, const hwm_env_config* config, int count, bool varies,
                                  hwm_error* err) {
    (void)varies;
    sequence* s = calloc(1, sizeof *s + (size_t)count * sizeof(series));
    if (!s) {
        return hwm_fail(err, HWM_ENOMEM, "sequence: out of memory for %d environments", count);
    }
    s->symbols = (int)config->symbols;
    s->cues = config->sequence == HWM_ENV_RECALL ? (int)config->cues : 0;
    s->delay = (int)config->delay;
    *out = s;
    return HWM_OK;
}

static void sequence_destroy(void* self) {
    free(self);
}

// The symbols that the current trial shows.
static void draw(const sequence* s, series* e) {
    uint32_t period = (uint32_t)(2 * s->cues + s->delay);
    e->trial = s->cues ? e->t / period : 0;
    hwm_rng rng;
    hwm_rng_init(&rng, e->key, HWM_PURPOSE_ENV_STEP, 0, e->trial, 0);
    if (s->cues) {
        for (int k = 0; k < s->cues; k++) {
            e->shown[k] = (uint8_t)hwm_rng_below(&rng, (uint32_t)s->symbols);
        }
        return;
    }
    uint32_t order[SYMBOLS_MAX];
    for (int k = 0; k < s->symbols; k++) {
        order[k] = (uint32_t)k;
    }
    hwm_rng_shuffle(&rng, order, (uint32_t)s->symbols);
    for (int k = 0; k < s->symbols; k++) {
        e->shown[k] = (uint8_t)order[k];
    }
}

static void sequence_reset(void* self, int i, hwm_rng* rng) {
    sequence* s = self;
    series* e = &s->series[i];
    memset(e, 0, sizeof *e);
    e->key = (uint64_t)hwm_rng_u32(rng) << 32;
    e->key |= hwm_rng_u32(rng);
    draw(s, e);
}

// The symbol that is right at step t, -1 where none is asked for; *seen the one that is shown, -1:
// none; *go.
static int asked(const sequence* s, const series* e, int* seen, int* go) {
    *go = 0;
    if (s->cues == 0) {
        *seen = e->shown[e->t % (uint32_t)s->symbols];
        return e->shown[(e->t + 1) % (uint32_t)s->symbols];
    }
    int phase = (int)(e->t % (uint32_t)(2 * s->cues + s->delay));
    *seen = phase < s->cues ? e->shown[phase] : -1;
    *go = phase >= s->cues + s->delay;
    return *go ? e->shown[phase - s->cues - s->delay] : -1;
}

static void sequence_step(void* self, int begin, int end, const uint8_t* active,
                          const float* action, float* reward, uint8_t* outcome) {
    sequence* s = self;
    for (int i = begin; i < end; i++) {
        if (active && !active[i]) {
            continue;
        }
        series* e = &s->series[i];
        const float* a = action + (size_t)i * (size_t)s->symbols;
        int choice = 0, seen, go;
        for (int k = 1; k < s->symbols; k++) {
            choice = a[k] > a[choice] ? k : choice;
        }
        e->reward = asked(s, e, &seen, &go) == choice ? 1.0f : 0.0f;
        e->t++;
        if (s->cues && e->t / (uint32_t)(2 * s->cues + s->delay) != e->trial) {
            draw(s, e);
        }
        reward[i] = e->reward;
        outcome[i] = ENV_GO_ON;
    }
}

static void sequence_observe(const void* self, int begin, int end, const uint8_t* active,
                             float* obs) {
    const sequence* s = self;
    for (int i = begin; i < end; i++, obs += s->symbols + 2) {
        if (active && !active[i]) {
            continue;
        }
        const series* e = &s->series[i];
        int seen, go;
        asked(s, e, &seen, &go);
        for (int k = 0; k < s->symbols; k++) {
            obs[k] = k == seen ? 1.0f : 0.0f;
        }
        obs[s->symbols] = (float)go;
        obs[s->symbols + 1] = e->reward;
    }
}

static void sequence_get_state(const void* self, int i, double* state) {
    const series* e = &((const sequence*)self)->series[i];
    state[STATE_T] = e->t;
    state[STATE_REWARD] = (double)e->reward;
    state[STATE_KEY_LOW] = (double)(uint32_t)e->key;
    state[STATE_KEY_HIGH] = (double)(e->key >> 32);
}

static void sequence_set_state(void* self, int i, const double* state) {
    sequence* s = self;
    series* e = &s->series[i];
    e->t = state[STATE_T] > 0.0 ? (uint32_t)state[STATE_T] : 0;
    e->reward = (float)state[STATE_REWARD];
    e->key = (uint64_t)state[STATE_KEY_HIGH] << 32 | (uint32_t)state[STATE_KEY_LOW];
    draw(s, e);
}

// A disc per symbol, the one that is shown filled; a lamp each for the go signal and the reward.
static void sequence_draw(const void* self, int i, env_canvas* c, uint8_t* rgb, int width,
                          int height) {
    const sequence* s = self;
    const env_color empty = {205, 210, 218}, lit = {217, 128, 64}, go_color = {64, 90, 140},
                    right = {60, 150, 80};
    int seen, go;
    asked(s, &s->series[i], &seen, &go);
    double half = s->symbols / 2.0;
    env_draw_begin(c, rgb, width, height, 0.0, 0.0, half + 0.5, (env_color){238, 242, 246});
    for (int k = 0; k < s->symbols; k++) {
        double x = k + 0.5 - half;
        env_draw_capsule(c, x, 0.6, x, 0.6, 0.4, k == seen ? lit : empty);
    }
    env_draw_box(c, -0.7, -0.6, 0.4, 0.25, go ? go_color : empty);
    env_draw_box(c, 0.7, -0.6, 0.4, 0.25, s->series[i].reward > 0.0f ? right : empty);
}

const env_kind env_kind_sequence = {
    .name = "sequence",
    .help = "predict the next symbol, or recall symbols after a delay (env.sequence)",
    .describe = sequence_describe,
    .create = sequence_create,
    .destroy = sequence_destroy,
    .reset = sequence_reset,
    .step = sequence_step,
    .observe = sequence_observe,
    .get_state = sequence_get_state,
    .set_state = sequence_set_state,
    .draw = sequence_draw,
};
