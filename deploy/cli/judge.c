#include "judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "env/env.h"
#include "json.h"
#include "nn/safetensors.h"
#include "plastic/controller.h"
#include "run_dir.h"
#include "worker/evaluate.h"

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
    hwm_controller* controller = NULL;
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    hwm_status s = spec ? hwm_checkpoint_find(path, c->path, config, err) : HWM_ENOMEM;
    if (s != HWM_OK) {
        goto done;
    }
    s = hwm_experiment_load(&c->experiment, config, NULL, NULL, 0, err);
    if (s != HWM_OK) {
        goto done;
    }
    s = hwm_env_describe(&c->experiment->env, spec, err);
    if (s != HWM_OK) {
        goto done;
    }
    s = hwm_controller_create(&controller, &c->experiment->controller, &c->experiment->rule,
                              spec->obs_dim, spec->obs_scale, spec->action_dim, spec->discrete,
                              err);
    if (s != HWM_OK) {
        goto done;
    }
    c->list = *hwm_controller_params(controller);
    c->phi = malloc(c->list.count * sizeof *c->phi);
    if (!c->phi || !hwm_path_join(file, c->path, "controller.safetensors")) {
        s = hwm_fail(err, HWM_ENOMEM, "out of memory");
        goto done;
    }
    s = nn_safetensors_read(file, &c->list, c->phi, err);
done:
    hwm_controller_destroy(&controller);
    free(spec);
    if (s != HWM_OK) {
        hwm_checkpoint_close(c);
    }
    return s;
}

// ---- printing

static void score_json(FILE* out, const hwm_evaluate_score* s) {
    char mean[32], std[32], min[32], max[32];
    hwm_json_print_number(mean, sizeof mean, s->mean);
    hwm_json_print_number(std, sizeof std, s->std);
    hwm_json_print_number(min, sizeof min, s->min);
    hwm_json_print_number(max, sizeof max, s->max);
    fprintf(out, "\"mean\": %s, \"std\": %s, \"min\": %s, \"max\": %s, \"episodes\": %d", mean, std,
            min, max, s->episodes);
}

static void variants_json(FILE* out, const hwm_evaluate_result* r) {
    fprintf(out, ", \"variants\": [");
    for (int i = 0; i < r->n_variants; i++) {
        fprintf(out, "%s{\"variant\": [", i ? ", " : "");
        for (int d = 0; d < r->variant_dim; d++) {
            fprintf(out, "%s%.9g", d ? ", " : "", (double)r->variant[i].variant[d]);
        }
        fprintf(out, "], ");
        score_json(out, &r->variant[i]);
        fprintf(out, "}");
    }
    fprintf(out, "]");
}

static void text_escaped(FILE* out, const char* text) {
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', out);
        }
        if ((unsigned char)*text >= 0x20) {
            fputc(*text, out);
        }
    }
    fputc('"', out);
}

static void score_row(FILE* out, const char* name, const hwm_evaluate_score* s) {
    fprintf(out, "  %-34s %10.2f %10.2f %10.2f %10.2f %9d\n", name, s->mean, s->std, s->min, s->max,
            s->episodes);
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
} control;
static const control controls[] = {
    {"zeroed", "coefficients zeroed", -1, -1, false, true},
    {"shuffled", "coefficients shuffled", -1, -1, true, false},
    {"frozen_at_0", "plasticity frozen from the start", 0, -1, false, false},
    {"frozen_at_5", "plasticity frozen at decision 5", 5, -1, false, false},
    {"frozen_at_20", "plasticity frozen at decision 20", 20, -1, false, false},
    {"frozen_at_100", "plasticity frozen at decision 100", 100, -1, false, false},
    {"reset_at_100", "weights drawn again at decision 100", -1, 100, false, false},
};

static hwm_evaluate_request evaluate_request(const hwm_judge_request* r, const hwm_experiment* e) {
    hwm_evaluate_request q = hwm_evaluate_default_request();
    q.episodes = (int)r->episodes;
    q.seed = r->seed >= 0 ? (uint64_t)r->seed : (uint64_t)e->evaluation.seed + 1;
    q.freeze_at = r->freeze_at;
    q.reset_at = r->reset_at;
    q.shuffle_rule = r->shuffle_rule;
    q.zero_rule = r->zero_rule;
    q.variant = (int)r->variant;
    return q;
}

static hwm_status print_controls(const hwm_checkpoint* c, const hwm_judge_request* request,
                                 FILE* out, hwm_error* err) {
    if (request->json) {
        fprintf(out, ", \"controls\": {");
    }
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++) {
        hwm_evaluate_request q = evaluate_request(request, c->experiment);
        q.freeze_at = controls[i].freeze_at;
        q.reset_at = controls[i].reset_at;
        q.shuffle_rule = controls[i].shuffle;
        q.zero_rule = controls[i].zero;
        hwm_evaluate_result result;
        hwm_status s = hwm_evaluate(c->experiment, c->phi, &q, &result, err);
        if (s != HWM_OK) {
            return s;
        }
        if (request->json) {
            fprintf(out, "%s\"%s\": {", i ? ", " : "", controls[i].key);
            score_json(out, &result.all);
            fprintf(out, "}");
        } else {
            score_row(out, controls[i].label, &result.all);
            fflush(out);
        }
    }
    if (request->json) {
        fprintf(out, "}");
    }
    return HWM_OK;
}

hwm_status hwm_judge_checkpoint(const char* path, const hwm_judge_request* request, FILE* out,
                                hwm_error* err) {
    hwm_checkpoint c;
    hwm_status s = hwm_checkpoint_open(&c, path, err);
    if (s != HWM_OK) {
        return s;
    }
    hwm_evaluate_request q = evaluate_request(request, c.experiment);
    hwm_evaluate_result result;
    s = hwm_evaluate(c.experiment, c.phi, &q, &result, err);
    if (s != HWM_OK) {
        hwm_checkpoint_close(&c);
        return s;
    }
    if (request->json) {
        fprintf(out, "{");
        score_json(out, &result.all);
        fprintf(out, ", \"seed\": %llu, \"env_steps\": %lld, \"checkpoint\": ",
                (unsigned long long)q.seed, (long long)result.env_steps);
        text_escaped(out, c.path);
        variants_json(out, &result);
    } else {
        fprintf(out, "%s of %s, seed %llu\n", c.path, c.experiment->run.name,
                (unsigned long long)q.seed);
        fprintf(out, "  %-34s %10s %10s %10s %10s %9s\n", "return per episode", "mean", "std",
                "min", "max", "episodes");
        score_row(out, "as learned", &result.all);
        variant_rows(out, &result);
        fflush(out);
    }
    if (request->controls) {
        s = print_controls(&c, request, out, err);
    }
    if (request->json && s == HWM_OK) {
        fprintf(out, "}\n");
    }
    fflush(out);
    hwm_checkpoint_close(&c);
    return s;
}
