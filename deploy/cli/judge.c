#include "judge.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "experiment/acting.h"
#include "experiment/evaluate.h"
#include "nn/safetensors.h"
#include "plastic/controller.h"
#include "run_dir.h"

hwm_judge_request hwm_judge_default_request(void) {
    return (hwm_judge_request){
        .episodes = 100, .seed = -1, .freeze_at = -1, .reset_at = -1, .variant = -1};
}

void hwm_checkpoint_close(hwm_checkpoint* c) {
    hwm_experiment_destroy(&c->experiment);
    free(c->phi);
    c->phi = NULL;
}

hwm_status hwm_checkpoint_open(hwm_checkpoint* c, const char* path, hwm_error* err) {
    memset(c, 0, sizeof *c);
    char config[HWM_PATH_MAX], file[HWM_PATH_MAX];
    hwm_acting* acting = NULL;
    hwm_status s = hwm_checkpoint_find(path, c->path, config, err);
    if (s != HWM_OK) {
        goto done;
    }
    s = hwm_experiment_load(&c->experiment, config, NULL, NULL, 0, err);
    if (s != HWM_OK) {
        goto done;
    }
    s = hwm_acting_create(&acting, c->experiment, 0, err);
    if (s != HWM_OK) {
        goto done;
    }
    c->list = *hwm_acting_params(acting);
    c->phi = malloc(c->list.count * sizeof *c->phi);
    if (!c->phi || !hwm_path_join(file, c->path, "controller.safetensors")) {
        s = hwm_fail(err, HWM_ENOMEM, "out of memory");
        goto done;
    }
    s = nn_safetensors_read(file, &c->list, c->phi, err);
done:
    hwm_acting_destroy(&acting);
    if (s != HWM_OK) {
        hwm_checkpoint_close(c);
    }
    return s;
}

// ---- printing

static void put_score(hwm_json_writer* w, const hwm_evaluate_score* s) {
    hwm_json_put_number(w, "mean", s->mean);
    hwm_json_put_number(w, "std", s->std);
    hwm_json_put_number(w, "min", s->min);
    hwm_json_put_number(w, "max", s->max);
    hwm_json_put_whole(w, "episodes", s->episodes);
    if (isfinite(s->velocity)) {
        hwm_json_put_number(w, "velocity", s->velocity);
        hwm_json_put_number(w, "velocity_std", s->velocity_std);
    }
}

static void put_variants(hwm_json_writer* w, const hwm_evaluate_result* r) {
    hwm_json_open(w, "variants", '[');
    for (int i = 0; i < r->n_variants; i++) {
        hwm_json_open(w, NULL, '{');
        hwm_json_open(w, "variant", '[');
        for (int d = 0; d < r->variant_dim; d++) {
            hwm_json_put_number(w, NULL, (double)r->variant[i].variant[d]);
        }
        hwm_json_close(w);
        put_score(w, &r->variant[i]);
        hwm_json_close(w);
    }
    hwm_json_close(w);
}

static void score_row(FILE* out, const char* name, const hwm_evaluate_score* s) {
    fprintf(out, "  %-35s %7.1f %7.1f %7.1f %7.1f %8d", name, s->mean, s->std, s->min, s->max,
            s->episodes);
    if (isfinite(s->velocity)) {
        fprintf(out, " %8.2f %5.2f", s->velocity, s->velocity_std);
    }
    fprintf(out, "\n");
}

static void variant_rows(FILE* out, const hwm_evaluate_result* r) {
    for (int i = 0; i < r->n_variants; i++) {
        char name[128];
        size_t n = (size_t)snprintf(name, sizeof name, "  variant");
        for (int d = 0; d < r->variant_dim && n < sizeof name - 16; d++) {
            n += (size_t)snprintf(name + n, sizeof name - n, " %.4g",
                                  (double)r->variant[i].variant[d]);
        }
        score_row(out, name, &r->variant[i]);
    }
}

// ---- the controls, in the order of the table

typedef struct control {
    const char* key;
    const char* label;
    int64_t freeze_at, reset_at;
    bool shuffle, zero;
    bool untrained;  // parameters as training began with them
    hwm_evaluate_actions actions;
} control;
static const control controls[] = {
    {"untrained", "before any training", -1, -1, .untrained = true},
    {"random_actions", "random actions", -1, -1, .actions = HWM_EVALUATE_RANDOM},
    {"zero_actions", "zero actions", -1, -1, .actions = HWM_EVALUATE_ZERO},
    {"zeroed", "coefficients zeroed", -1, -1, .zero = true},
    {"shuffled", "coefficients shuffled", -1, -1, .shuffle = true},
    {"frozen_at_0", "plasticity frozen from the start", 0, -1, .zero = false},
    {"frozen_at_5", "plasticity frozen at decision 5", 5, -1, .zero = false},
    {"frozen_at_20", "plasticity frozen at decision 20", 20, -1, .zero = false},
    {"frozen_at_100", "plasticity frozen at decision 100", 100, -1, .zero = false},
    {"reset_at_100", "weights drawn again at decision 100", -1, 100, .zero = false},
};

enum { CONTROLS = sizeof controls / sizeof controls[0] };

// What one call of judge has found out.
typedef struct judgement {
    hwm_evaluate_request request;
    hwm_evaluate_result result;
    bool controlled[CONTROLS];  // has control[k]
    hwm_evaluate_score control[CONTROLS];
} judgement;

static hwm_evaluate_request evaluate_request(const hwm_judge_request* r, const hwm_experiment* e) {
    hwm_evaluate_request q = hwm_evaluate_default_request();
    q.episodes = (int)r->episodes;
    // far from evaluation.seed + small numbers, with which the learner finds the best
    q.seed = r->seed >= 0 ? (uint64_t)r->seed : (uint64_t)e->evaluation.seed + ((uint64_t)1 << 40);
    q.freeze_at = r->freeze_at;
    q.reset_at = r->reset_at;
    q.shuffle_rule = r->shuffle_rule;
    q.zero_rule = r->zero_rule;
    q.variant = (int)r->variant;
    return q;
}

// Which controls have something to take away from what acts in the experiment, and the parameters
// that training began with (list.count; NULL where it is not the controller alone that learns).
// Caller frees.
static hwm_status find_controls(const hwm_checkpoint* c, judgement* j, float** initial,
                                hwm_error* err) {
    hwm_acting* acting;
    hwm_status s = hwm_acting_create(&acting, c->experiment, 0, err);
    if (s != HWM_OK) {
        return s;
    }
    const hwm_controller* controller = hwm_acting_controller(acting);
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    *initial = hwm_acting_latent(acting) ? NULL : malloc(c->list.count * sizeof **initial);
    if (!spec || (!*initial && !hwm_acting_latent(acting))) {
        s = hwm_fail(err, HWM_ENOMEM, "out of memory");
    } else {
        s = hwm_env_describe(&c->experiment->env, spec, err);
    }
    if (s == HWM_OK) {
        if (*initial) {
            hwm_rng rng;
            memcpy(*initial, c->phi, c->list.count * sizeof **initial);  // a model stays trained
            hwm_rng_init(&rng, (uint64_t)c->experiment->run.seed, HWM_PURPOSE_PARAMETERS, 0, 0, 0);
            hwm_controller_init(controller, &rng, *initial);
        }
        const bool plastic = hwm_controller_state_size(controller) > 0;
        for (int i = 0; i < CONTROLS; i++) {
            const control* k = &controls[i];
            if (k->untrained) {
                j->controlled[i] = *initial != NULL;
            } else if (k->actions == HWM_EVALUATE_LEARNED) {
                j->controlled[i] = plastic;
            } else {
                j->controlled[i] = k->actions != HWM_EVALUATE_ZERO || !spec->discrete;
            }
        }
    }
    free(spec);
    hwm_acting_destroy(&acting);
    return s;
}

// Rows of the table appear as they are known.
static hwm_status evaluate_controls(const hwm_checkpoint* c, judgement* j, FILE* table,
                                    hwm_error* err) {
    float* initial = NULL;
    hwm_status s = find_controls(c, j, &initial, err);
    for (int i = 0; i < CONTROLS && s == HWM_OK; i++) {
        if (!j->controlled[i]) {
            continue;
        }
        hwm_evaluate_request q = j->request;
        q.freeze_at = controls[i].freeze_at;
        q.reset_at = controls[i].reset_at;
        q.shuffle_rule = controls[i].shuffle;
        q.zero_rule = controls[i].zero;
        q.actions = controls[i].actions;
        hwm_evaluate_result result;
        s = hwm_evaluate(c->experiment, controls[i].untrained ? initial : c->phi, &q, &result, err);
        j->control[i] = result.all;
        if (s == HWM_OK && table) {
            score_row(table, controls[i].label, &result.all);
            fflush(table);
        }
    }
    free(initial);
    return s;
}

static void judgement_json(FILE* out, const hwm_checkpoint* c, const judgement* j) {
    bool controlled = false;
    for (int i = 0; i < CONTROLS; i++) {
        controlled |= j->controlled[i];
    }
    hwm_json_writer w = hwm_json_writer_of(out, 0, 9);
    hwm_json_open(&w, NULL, '{');
    put_score(&w, &j->result.all);
    hwm_json_put_whole(&w, "seed", (int64_t)j->request.seed);
    hwm_json_put_whole(&w, "env_steps", j->result.env_steps);
    hwm_json_put_text(&w, "experiment", c->experiment->run.name);
    hwm_json_put_whole(&w, "run_seed", c->experiment->run.seed);
    hwm_json_put_text(&w, "checkpoint", c->path);
    put_variants(&w, &j->result);
    if (controlled) {
        hwm_json_open(&w, "controls", '{');
        for (int i = 0; i < CONTROLS; i++) {
            if (!j->controlled[i]) {
                continue;
            }
            hwm_json_open(&w, controls[i].key, '{');
            put_score(&w, &j->control[i]);
            hwm_json_close(&w);
        }
        hwm_json_close(&w);
    }
    hwm_json_close(&w);
    fputc('\n', out);
}

static hwm_status save(const char* path, const hwm_checkpoint* c, const judgement* j,
                       hwm_error* err) {
    char temporary[HWM_PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary) {
        return hwm_fail(err, HWM_EINVAL, "the path is too long: %s", path);
    }
    FILE* f = fopen(temporary, "w");
    if (f) {
        judgement_json(f, c, j);
    }
    if (!f || fflush(f) != 0 || fclose(f) != 0 || rename(temporary, path) != 0) {
        return hwm_fail(err, HWM_EIO, "cannot write %s: %s", path, strerror(errno));
    }
    return HWM_OK;
}

// The checkpoint plays in the environment of the experiment in `file`; its controller must fit.
static hwm_status move_to(hwm_checkpoint* c, const char* file, hwm_error* err) {
    hwm_experiment* other;
    hwm_status s = hwm_experiment_load(&other, file, NULL, NULL, 0, err);
    if (s != HWM_OK) {
        return s;
    }
    hwm_acting* acting = NULL;
    c->experiment->env = other->env;
    const size_t room = sizeof c->experiment->run.name;
    char from[sizeof c->experiment->run.name];
    memcpy(from, c->experiment->run.name, room);
    if (snprintf(c->experiment->run.name, room, "%.100s in %.100s", from, other->run.name) >=
        (int)room) {
        s = hwm_fail(err, HWM_EINVAL, "the names %s and %s are too long together", from,
                     other->run.name);
    }
    if (s == HWM_OK) {
        s = hwm_acting_create(&acting, c->experiment, 0, err);
    }
    if (s == HWM_OK && hwm_acting_params(acting)->count != c->list.count) {
        s = hwm_fail(err, HWM_EINVAL,
                     "%s has %zu parameters, a controller for the environment of %s would have %zu",
                     c->path, c->list.count, file, hwm_acting_params(acting)->count);
    }
    hwm_acting_destroy(&acting);
    hwm_experiment_destroy(&other);
    return s;
}

hwm_status hwm_judge_checkpoint(const char* path, const hwm_judge_request* request, FILE* out,
                                hwm_error* err) {
    hwm_checkpoint c;
    hwm_status s = hwm_checkpoint_open(&c, path, err);
    if (s != HWM_OK) {
        return s;
    }
    if (request->in && (s = move_to(&c, request->in, err)) != HWM_OK) {
        hwm_checkpoint_close(&c);
        return s;
    }
    judgement j = {.request = evaluate_request(request, c.experiment)};
    FILE* table = request->json ? NULL : out;
    s = hwm_evaluate(c.experiment, c.phi, &j.request, &j.result, err);
    if (s == HWM_OK && table) {
        fprintf(table, "%s of %s, seed %llu\n", c.path, c.experiment->run.name,
                (unsigned long long)j.request.seed);
        fprintf(table, "  %-35s %7s %7s %7s %7s %8s%s\n", "return per episode", "mean", "std",
                "min", "max", "episodes", isfinite(j.result.all.velocity) ? "      m/s   std" : "");
        score_row(table, "as learned", &j.result.all);
        variant_rows(table, &j.result);
        fflush(table);
    }
    if (s == HWM_OK && request->controls) {
        s = evaluate_controls(&c, &j, table, err);
    }
    if (s == HWM_OK && request->json) {
        judgement_json(out, &c, &j);
        fflush(out);
    }
    if (s == HWM_OK && request->save) {
        s = save(request->save, &c, &j, err);
    }
    hwm_checkpoint_close(&c);
    return s;
}
