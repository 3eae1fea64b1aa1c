// One environment driven by given or random actions.
#include "rollout.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Comma-separated numbers of one line. Returns how many, or -1 with *bad at what is not a finite
// number.
static int read_numbers(const char* text, double* out, int max, const char** bad) {
    int n = 0;
    for (const char* p = text;;) {
        char* end;
        double v = strtod(p, &end);
        if (end == p || !isfinite(v)) {
            *bad = p;
            return -1;
        }
        if (n < max) {
            out[n] = v;
        }
        n++;
        while (isspace((unsigned char)*end)) {
            end++;
        }
        if (*end == '\0') {
            return n;
        }
        if (*end != ',') {
            *bad = end;
            return -1;
        }
        p = end + 1;
    }
}

// The word at which reading stopped, without the rest of the line.
static int word_length(const char* p) {
    return (int)strcspn(p, ",\r\n");
}

static hwm_status read_actions(rollout* r, const char* path, hwm_error* err) {
    FILE* f = fopen(path, "r");
    if (!f) {
        return hwm_fail(err, HWM_EIO, "--actions: cannot read %s", path);
    }
    int A = r->spec->action_dim;
    double row[64];
    char* line = NULL;
    size_t room = 0;
    int64_t capacity = 0, number = 0;
    hwm_status code = HWM_OK;
    while (code == HWM_OK && getline(&line, &room, f) >= 0) {
        number++;
        line[strcspn(line, "\r\n")] = '\0';
        if (line[strspn(line, " \t")] == '\0' || line[0] == '#') {
            continue;
        }
        const char* bad = NULL;
        int n = read_numbers(line, row, 64, &bad);
        if (n < 0) {
            code = hwm_fail(err, HWM_EINVAL, "%s line %lld: \"%.*s\" is not a finite number", path,
                            (long long)number, word_length(bad), bad);
        } else if (n != A) {
            code = hwm_fail(err, HWM_EINVAL, "%s line %lld: %d numbers; an action of %s has %d",
                            path, (long long)number, n, r->spec->name, A);
        } else if (r->given_n == capacity) {
            capacity = capacity ? 2 * capacity : 256;
            float* more = realloc(r->given, (size_t)(capacity * A) * sizeof *more);
            if (!more) {
                code = hwm_fail(err, HWM_ENOMEM, "--actions: out of memory");
            } else {
                r->given = more;
            }
        }
        for (int a = 0; code == HWM_OK && a < A; a++) {
            r->given[r->given_n * A + a] = (float)row[a];
        }
        r->given_n += code == HWM_OK;
    }
    free(line);
    fclose(f);
    if (code == HWM_OK && r->given_n == 0) {
        code = hwm_fail(err, HWM_EINVAL, "--actions: %s has no action", path);
    }
    return code;
}

static hwm_status set_state(rollout* r, const char* text, hwm_error* err) {
    int want = r->spec->init_dim;
    double* state = calloc((size_t)r->spec->state_dim, sizeof *state);
    double* given = calloc((size_t)want, sizeof *given);
    const char* bad = NULL;
    hwm_status code = HWM_OK;
    int n = state && given ? read_numbers(text, given, want, &bad) : 0;
    if (!state || !given) {
        code = hwm_fail(err, HWM_ENOMEM, "--init-state: out of memory");
    } else if (n < 0) {
        code = hwm_fail(err, HWM_EINVAL, "--init-state: \"%.*s\" is not a finite number",
                        word_length(bad), bad);
    } else if (n != want) {
        code = hwm_fail(err, HWM_EINVAL, "--init-state: %d numbers; %s has %d: %s", n,
                        r->spec->name, want, "positions, then velocities");
    } else {
        hwm_envs_get_state(r->envs, 0, state);
        memcpy(state, given, (size_t)want * sizeof *state);
        hwm_envs_set_state(r->envs, 0, state, r->obs);
    }
    free(state);
    free(given);
    return code;
}

static hwm_status configure(hwm_env_config* config, const rollout_options* o, hwm_error* err) {
    hwm_config_section section = {.table = &hwm_env_table, .target = config};
    // text: nothing of this host's environment gets in
    hwm_status code = hwm_config_load(&section, 1, NULL, "", o->set.v, o->set.n, err);
    if (code != HWM_OK) {
        return code;
    }
    if (strlen(o->env) >= sizeof config->name) {
        return hwm_fail(err, HWM_EINVAL, "--env: the name is too long");
    }
    strcpy(config->name, o->env);
    for (int k = 0; k < o->variant.n; k++) {
        hwm_string_list* list = &config->variants;
        if (list->n == HWM_CONFIG_LIST_MAX || strlen(o->variant.v[k]) >= HWM_CONFIG_ITEM_MAX) {
            return hwm_fail(err, HWM_EINVAL, "--variant: \"%s\" is too long or one too many",
                            o->variant.v[k]);
        }
        strcpy(list->v[list->n++], o->variant.v[k]);
    }
    return HWM_OK;
}

hwm_status rollout_begin(rollout* r, const rollout_options* options, hwm_error* err) {
    memset(r, 0, sizeof *r);
    hwm_env_config* config = calloc(1, sizeof *config);
    if (!config) {
        return hwm_fail(err, HWM_ENOMEM, "out of memory");
    }
    hwm_env_plugin_dir(options->plugin_dir);
    hwm_status code = configure(config, options, err);
    if (code == HWM_OK) {
        code = hwm_envs_create(&r->envs, config, (uint64_t)options->seed, 0, 1, 1, err);
    }
    free(config);
    if (code != HWM_OK) {
        return code;
    }
    r->spec = hwm_envs_spec(r->envs);
    r->obs = calloc((size_t)r->spec->obs_dim, sizeof *r->obs);
    r->action = calloc((size_t)r->spec->action_dim, sizeof *r->action);
    if (!r->obs || !r->action) {
        return hwm_fail(err, HWM_ENOMEM, "out of memory");
    }
    hwm_rng_init(&r->rng, (uint64_t)options->seed, HWM_PURPOSE_EXPLORATION, 0,
                 (uint32_t)options->episode, 0);
    hwm_envs_reset(r->envs, 0, (uint32_t)options->episode, r->obs);
    r->limit = options->steps > 0 ? options->steps : INT64_MAX;
    if (options->init_state) {
        code = set_state(r, options->init_state, err);
    }
    if (code == HWM_OK && options->actions) {
        code = read_actions(r, options->actions, err);
        r->limit = r->limit < r->given_n ? r->limit : r->given_n;
    }
    return code;
}

bool rollout_choose(rollout* r) {
    if (r->t >= r->limit || r->terminated || r->truncated) {
        return false;
    }
    int A = r->spec->action_dim;
    for (int a = 0; a < A; a++) {
        float u = r->given ? r->given[r->t * A + a] : 2.0f * hwm_rng_uniform(&r->rng) - 1.0f;
        // two choices: files may write 0 and 1 or -1 and 1
        r->action[a] = r->spec->n_actions == 2 ? (u > 0.0f ? 1.0f : -1.0f) : u;
    }
    return true;
}

void rollout_step(rollout* r) {
    hwm_envs_step(r->envs, NULL, r->action, r->obs, &r->reward, &r->terminated, &r->truncated);
    r->t++;
}

void rollout_end(rollout* r) {
    hwm_envs_destroy(&r->envs);
    free(r->given);
    free(r->obs);
    free(r->action);
    memset(r, 0, sizeof *r);
}
