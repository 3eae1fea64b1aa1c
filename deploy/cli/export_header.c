// The header is written function by function. Its arithmetic is that of common/plastic for one
// sample, operation by operation in the same order, so that a compiler that contracts nothing gives
// the worker's numbers to the last bit.
#include "export_header.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export_impl.h"

// ---- what a header cannot hold

static hwm_status check(const writer* w, hwm_error* err) {
    const hwm_controller* c = w->c;
    const struct {
        bool wrong;
        const char* what;
    } refused[] = {
        {c->row->network || c->row->mixed, "rule.kind is network or miconi"},
        {c->modulator == HWM_MODULATOR_LATENT,
         "rule.modulator is latent, which the world model follows"},
        {c->n_connections > c->n_layers, "controller.cell is recurrent"},
        {c->row->naive != HWM_NAIVE_NONE, "rule.kind is naive, with nothing learned in it"},
        {c->config.weights == HWM_WEIGHTS_NORMAL || c->config.weights == HWM_WEIGHTS_SPARSE,
         "controller.weights is normal or sparse, whose draws need a square root"},
    };
    for (size_t k = 0; k < sizeof refused / sizeof refused[0]; k++) {
        if (refused[k].wrong) {
            return hwm_fail(err, HWM_EUNSUPPORTED,
                            "a header cannot hold this controller: %s; --safetensors can",
                            refused[k].what);
        }
    }
    if (!(isalpha((unsigned char)w->prefix[0]) || w->prefix[0] == '_')) {
        return hwm_fail(err, HWM_EINVAL, "--prefix %s: not a C identifier", w->prefix);
    }
    for (const char* p = w->prefix; *p; p++) {
        if (!(isalnum((unsigned char)*p) || *p == '_')) {
            return hwm_fail(err, HWM_EINVAL, "--prefix %s: not a C identifier", w->prefix);
        }
    }
    return HWM_OK;
}

// ---- tables

static void table(writer* w, const char* name, const char* shape, const hwm_real* values,
                  size_t n) {
    fprintf(w->out, "static const float %s_%s%s = {", w->prefix, name, shape);
    for (size_t k = 0; k < n; k++) {
        fprintf(w->out, "%s%af,", k % 6 == 0 ? "\n    " : " ", (double)(float)values[k]);
    }
    fprintf(w->out, "\n};\n");
    w->cost->rom_bytes += (int64_t)(n * sizeof(float));
}

static void tables(writer* w) {
    const hwm_controller* c = w->c;
    char name[48], shape[48];
    hwm_real scale[512];
    bool seen_d = w->delta_scale != NULL, seen_o = false;
    for (int k = 0; k < c->config.inputs.n; k++) {
        seen_o |= c->config.inputs.v[k][0] == 'o';
    }
    snprintf(shape, sizeof shape, "[%d]", c->obs_dim);
    if (seen_o) {
        table(w, "obs_scale", shape, c->obs_inverse, (size_t)c->obs_dim);
    }
    for (int f = 0; seen_d && f < c->obs_dim; f++) {
        scale[f] = c->obs_inverse[f] / w->delta_scale[f];
    }
    if (seen_d) {
        table(w, "delta_scale", shape, scale, (size_t)c->obs_dim);
    }
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        size_t n = (size_t)y->P * (size_t)y->Q;
        if (y->w_c != HWM_NONE) {
            snprintf(name, sizeof name, y->plastic ? "mean%d" : "static%d", l + 1);
            snprintf(shape, sizeof shape, "[%d]", (int)n);
            table(w, name, shape, w->coef + y->w_c, n);
        }
        if (!y->plastic) {
            continue;
        }
        snprintf(name, sizeof name, "rule%d", l + 1);
        snprintf(shape, sizeof shape, "[%d]", (int)(4 * n));
        table(w, name, shape, w->coef + y->rule_c, 4 * n);
        if (y->mod_x_c != HWM_NONE) {
            snprintf(name, sizeof name, "mod_x%d", l + 1);
            snprintf(shape, sizeof shape, "[%d]", c->inputs);
            table(w, name, shape, w->coef + y->mod_x_c, (size_t)c->inputs);
            if (y->mod_h_c != HWM_NONE) {
                int hidden = c->layer[c->n_layers - 1].Q;
                snprintf(name, sizeof name, "mod_h%d", l + 1);
                snprintf(shape, sizeof shape, "[%d]", hidden);
                table(w, name, shape, w->coef + y->mod_h_c, (size_t)hidden);
            }
        }
    }
}

// ---- state

static void state(writer* w) {
    const hwm_controller* c = w->c;
    fprintf(w->out, "\ntypedef struct %s_state {\n", w->prefix);
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        if (!y->plastic) {
            continue;
        }
        fprintf(w->out, "    float w%d[%d];  /* (%d,%d) */\n", l + 1, y->P * y->Q, y->P, y->Q);
        w->cost->ram_bytes += 4 * (int64_t)y->P * y->Q;
        if (y->w0_f != HWM_NONE) {
            fprintf(w->out, "    float home%d[%d];  /* W_0 */\n", l + 1, y->P * y->Q);
            w->cost->ram_bytes += 4 * (int64_t)y->P * y->Q;
        }
        if (c->row->trace) {
            fprintf(w->out, "    float trace%d[%d];\n", l + 1, y->P * y->Q);
            w->cost->ram_bytes += 4 * (int64_t)y->P * y->Q;
        }
        if (y->sum_pre_f != HWM_NONE) {
            fprintf(w->out, "    float mean_pre%d[%d], mean_post%d[%d];  /* of the window */\n",
                    l + 1, y->Q, l + 1, y->P);
            w->cost->ram_bytes += 4 * ((int64_t)y->Q + y->P);
        }
        if (c->row->old) {
            fprintf(w->out,
                    "    float old_pre%d[%d], old_post%d[%d];  /* of the previous update */\n",
                    l + 1, y->Q, l + 1, y->P);
            w->cost->ram_bytes += 4 * ((int64_t)y->Q + y->P);
        }
    }
    if (c->old_x_f != HWM_NONE) {
        fprintf(w->out, "    float old_x[%d];\n", c->inputs);
        w->cost->ram_bytes += 4 * (int64_t)c->inputs;
    }
    if (c->mean_f != HWM_NONE) {
        fprintf(w->out, "    float reward_mean;\n");
        w->cost->ram_bytes += 4;
    }
    if (c->phase_f != HWM_NONE) {
        fprintf(w->out, "    int32_t phase;  /* steps since the last update */\n");
        w->cost->ram_bytes += 4;
    }
    fprintf(w->out,
            "    float act[%d];  /* activations: inputs, layer by layer, outputs */\n"
            "    float old_obs[%d], old_action[%d];\n"
            "    int32_t first;\n"
            "} %s_state;\n\n",
            c->activations, c->obs_dim, c->action_dim, w->prefix);
    w->cost->ram_bytes += 4 * ((int64_t)c->activations + c->obs_dim + c->action_dim + 1);
}

// ---- functions

static void tanh_function(writer* w) {
    const char* p = w->prefix;
    fprintf(w->out,
            "/* e / (e + 2) with e = expm1(2|x|), by range reduction and a Taylor series: the same "
            "bits\n"
            "   wherever float arithmetic is IEEE 754. */\n"
            "static inline float %s_tanh(float x) {\n"
            "    union { float f; uint32_t u; } s;\n"
            "    float ax = x < 0 ? -x : x;\n"
            "    ax = ax > 10.0f ? 10.0f : ax;\n"
            "    float y = ax + ax;\n"
            "    float shifted = y * 1.44269504f + 12582912.0f;\n"
            "    float n = shifted - 12582912.0f;\n"
            "    s.f = shifted;\n"
            "    s.u = (s.u - 0x4b400000u + 127u) << 23;\n"
            "    float two_n = s.f;\n"
            "    float r = y - n * 0.693359375f;\n"
            "    r = r + n * 2.12194440e-4f;\n"
            "    float p = 1.0f / 5040.0f;\n"
            "    p = p * r + 1.0f / 720.0f;\n"
            "    p = p * r + 1.0f / 120.0f;\n"
            "    p = p * r + 1.0f / 24.0f;\n"
            "    p = p * r + 1.0f / 6.0f;\n"
            "    p = p * r + 0.5f;\n"
            "    float em1 = (p * r) * r + r;\n"
            "    float e = two_n * em1 + (two_n - 1.0f);\n"
            "    float t = e / (e + 2.0f);\n"
            "    s.f = x;\n"
            "    return s.u >> 31 ? -t : t;\n"
            "}\n\n",
            p);
    fprintf(w->out,
            "static inline void %s_dense(float* post, const float* w, const float* pre, int "
            "n_post, int n_pre) {\n"
            "    for (int i = 0; i < n_post; i++) {\n"
            "        float sum = 0.0f;\n"
            "        for (int j = 0; j < n_pre; j++, w++) {\n"
            "            sum += *w * pre[j];\n"
            "        }\n"
            "        post[i] = %s_tanh(sum);\n"
            "    }\n"
            "}\n\n",
            p, p);
}

// Half width of the uniform distribution of a layer's initial weights.
static float uniform_bound(const hwm_controller* c, const hwm_layer* y) {
    float s = (float)c->config.weights_scale;
    switch ((hwm_weights)c->config.weights) {
    case HWM_WEIGHTS_XAVIER:
        return s * sqrtf(6.0f / (float)(y->P + y->Q));
    case HWM_WEIGHTS_KAIMING:
        return sqrtf(6.0f / ((1.0f + s * s) * (float)y->Q));
    case HWM_WEIGHTS_DEFAULT:
        return 1.0f / sqrtf((float)y->Q);
    default:
        return s;
    }
}

static void clear(writer* w, const char* name, int number, int n) {
    fprintf(w->out, "    for (int k = 0; k < %d; k++) {\n        s->%s%d[k] = 0.0f;\n    }\n", n,
            name, number);
}

// The worker's streams: Philox4x32-10 keyed by seed and purpose, counted by step, episode and
// environment.
static void reset_function(writer* w) {
    const hwm_controller* c = w->c;
    const char* p = w->prefix;
    bool drawn = c->config.weights != HWM_WEIGHTS_ONES && c->config.weights != HWM_WEIGHTS_ZEROS;
    if (drawn) {
        fprintf(
            w->out,
            "/* Philox4x32-10 (Salmon et al. 2011) */\n"
            "static inline void %s_philox(const uint32_t counter[4], const uint32_t key[2], "
            "uint32_t out[4]) {\n"
            "    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];\n"
            "    uint32_t k0 = key[0], k1 = key[1];\n"
            "    for (int i = 0; i < 10; i++) {\n"
            "        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;\n"
            "        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;\n"
            "        c1 = (uint32_t)p1;\n"
            "        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;\n"
            "        c3 = (uint32_t)p0;\n"
            "        k0 += 0x9E3779B9u;\n"
            "        k1 += 0xBB67AE85u;\n"
            "    }\n"
            "    out[0] = c0;\n    out[1] = c1;\n    out[2] = c2;\n    out[3] = c3;\n"
            "}\n\n",
            p);
    }
    fprintf(w->out,
            "/* Begin an episode: fresh weights, the same for the same seed and episode as in the "
            "trainer's\n"
            "   environment 0. */\n"
            "static inline void %s_reset(%s_state* s, uint64_t seed, uint32_t episode) {\n",
            p, p);
    if (drawn) {
        fprintf(w->out,
                "    const uint32_t seed_key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};\n"
                "    const uint32_t purpose[4] = {%uu, 0, 0, 0x48574d31u};\n"
                "    uint32_t key[4], counter[4] = {0, 0, episode, 0}, block[4];\n"
                "    int used = 4;\n"
                "    %s_philox(purpose, seed_key, key);\n",
                (unsigned)HWM_PURPOSE_WEIGHTS, p);
    } else {
        fprintf(w->out, "    (void)seed;\n    (void)episode;\n");
    }
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        if (!y->plastic) {
            continue;
        }
        fprintf(w->out, "    for (int k = 0; k < %d; k++) {\n", y->P * y->Q);
        if (drawn) {
            fprintf(w->out,
                    "        if (used == 4) {\n"
                    "            %s_philox(counter, key, block);\n"
                    "            counter[0]++;\n"
                    "            used = 0;\n"
                    "        }\n"
                    "        float u = (float)(int32_t)(block[used++] >> 8) * %af;\n"
                    "        s->w%d[k] = %af * (2.0f * u - 1.0f);\n",
                    p, 0x1p-24, l + 1, (double)uniform_bound(c, y));
        } else {
            fprintf(w->out, "        s->w%d[k] = %s;\n", l + 1,
                    c->config.weights == HWM_WEIGHTS_ONES ? "1.0f" : "0.0f");
        }
        if (y->w_c != HWM_NONE) {
            fprintf(w->out, "        s->w%d[k] += %s_mean%d[k];\n", l + 1, p, l + 1);
        }
        if (y->w0_f != HWM_NONE) {
            fprintf(w->out, "        s->home%d[k] = s->w%d[k];\n", l + 1, l + 1);
        }
        if (c->row->trace) {
            fprintf(w->out, "        s->trace%d[k] = 0.0f;\n", l + 1);
        }
        fprintf(w->out, "    }\n");
        if (c->row->old) {
            clear(w, "old_pre", l + 1, y->Q);
            clear(w, "old_post", l + 1, y->P);
        }
        if (y->sum_pre_f != HWM_NONE) {
            clear(w, "mean_pre", l + 1, y->Q);
            clear(w, "mean_post", l + 1, y->P);
        }
    }
    if (c->old_x_f != HWM_NONE) {
        fprintf(w->out, "    for (int k = 0; k < %d; k++) {\n        s->old_x[k] = 0.0f;\n    }\n",
                c->inputs);
    }
    fprintf(w->out, "%s%s", c->mean_f != HWM_NONE ? "    s->reward_mean = 0.0f;\n" : "",
            c->phase_f != HWM_NONE ? "    s->phase = 0;\n" : "");
    fprintf(w->out,
            "    for (int k = 0; k < %d; k++) {\n        s->old_action[k] = 0.0f;\n    }\n"
            "    s->first = 1;\n}\n\n",
            c->action_dim);
}

static void inputs(writer* w) {
    const hwm_controller* c = w->c;
    const char* p = w->prefix;
    int at = 0;
    for (int k = 0; k < c->config.inputs.n; k++) {
        switch (c->config.inputs.v[k][0]) {
        case 'o':
            fprintf(w->out,
                    "    for (int k = 0; k < %d; k++) {\n        s->act[%d + k] = obs[k] * "
                    "%s_obs_scale[k];\n    }\n",
                    c->obs_dim, at, p);
            at += c->obs_dim;
            w->cost->multiplications += c->obs_dim;
            break;
        case 'd':
            fprintf(w->out,
                    "    for (int k = 0; k < %d; k++) {\n"
                    "        s->act[%d + k] = s->first ? 0.0f : (obs[k] - s->old_obs[k]) * "
                    "%s_delta_scale[k];\n"
                    "    }\n",
                    c->obs_dim, at, p);
            at += c->obs_dim;
            w->cost->multiplications += c->obs_dim;
            w->cost->additions += c->obs_dim;
            break;
        case 'a':
            fprintf(w->out,
                    "    for (int k = 0; k < %d; k++) {\n        s->act[%d + k] = s->first ? 0.0f "
                    ": s->old_action[k];\n    }\n",
                    c->action_dim, at);
            at += c->action_dim;
            break;
        case 'r':
            fprintf(w->out, "    s->act[%d] = s->first ? 0.0f : reward;\n", at++);
            break;
        default:
            fprintf(w->out, "    s->act[%d] = 1.0f;\n", at++);
        }
    }
    if (c->reward_f != HWM_NONE) {
        fprintf(w->out, "    s->act[%zu] = s->first ? 0.0f : reward;\n", c->reward_f);
    }
}

static void choose_action(writer* w) {
    const hwm_controller* c = w->c;
    int out = c->activations - c->action_dim;
    if (c->discrete && c->action_dim == 1) {
        fprintf(w->out, "    action[0] = s->act[%d] >= 0.0f ? 1.0f : -1.0f;\n", out);
    } else if (c->discrete) {
        fprintf(w->out,
                "    int best = 0;\n"
                "    for (int k = 1; k < %d; k++) {\n"
                "        best = s->act[%d + k] > s->act[%d + best] ? k : best;\n"
                "    }\n"
                "    for (int k = 0; k < %d; k++) {\n        action[k] = k == best ? 1.0f : "
                "0.0f;\n    }\n",
                c->action_dim, out, out, c->action_dim);
    } else {
        fprintf(w->out,
                "    for (int k = 0; k < %d; k++) {\n"
                "        float a = s->act[%d + k];\n"
                "        action[k] = a > 1.0f ? 1.0f : a < -1.0f ? -1.0f : a;\n"
                "    }\n",
                c->action_dim, out);
    }
}

static void step_function(writer* w) {
    const hwm_controller* c = w->c;
    const char* p = w->prefix;
    fprintf(w->out,
            "/* One control step: read what is observed (and the reward that came with it, mean "
            "over the action's repeats), choose "
            "the action, then\n"
            "   change the weights. */\n"
            "static inline void %s_step(%s_state* s, const float obs[%d], float reward, float "
            "action[%d]) {\n"
            "    (void)reward;\n",
            p, p, c->obs_dim, c->action_dim);
    inputs(w);
    for (int l = 0; l < c->n_layers; l++) {
        const hwm_layer* y = &c->layer[l];
        char weights[128];
        if (y->plastic) {
            snprintf(weights, sizeof weights, "s->w%d", l + 1);
        } else {
            snprintf(weights, sizeof weights, "%.100s_static%d", p, l + 1);
        }
        fprintf(w->out, "    %s_dense(s->act + %zu, %s, s->act + %zu, %d, %d);\n", p, y->post_f,
                weights, y->pre_f, y->P, y->Q);
        w->cost->multiplications += (int64_t)y->P * y->Q;
        w->cost->additions += (int64_t)y->P * y->Q;
        w->cost->tanhs += y->P;
        w->cost->synapses += (int64_t)y->P * y->Q;
    }
    choose_action(w);
    hwm_export_learn(w);
    fprintf(w->out,
            "    for (int k = 0; k < %d; k++) {\n        s->old_obs[k] = obs[k];\n    }\n"
            "    for (int k = 0; k < %d; k++) {\n        s->old_action[k] = action[k];\n    }\n"
            "    s->first = 0;\n}\n\n",
            c->obs_dim, c->action_dim);
}

static void head(writer* w) {
    const hwm_controller* c = w->c;
    const char* p = w->prefix;
    fprintf(w->out,
            "/* %s: a plastic controller for %s, written by `hwm export` %s.\n"
            "\n"
            "   %s_state s;\n"
            "   %s_reset(&s, seed, episode);                    fresh random weights\n"
            "   %s_step(&s, obs, reward, action);               every control step of %.4g s\n"
            "\n"
            "   obs (%d): ",
            p, w->spec->name, HWM_VERSION, p, p, p, w->spec->control_dt, c->obs_dim);
    for (int k = 0; k < c->obs_dim; k++) {
        fprintf(w->out, "%s%s", k ? ", " : "", w->spec->obs_name[k]);
    }
    fprintf(w->out, "\n   action (%d): ", c->action_dim);
    for (int k = 0; k < c->action_dim; k++) {
        fprintf(w->out, "%s%s", k ? ", " : "", w->spec->action_name[k]);
    }
    fprintf(w->out,
            "%s\n"
            "\n"
            "   No allocation, no library; float only. Where float arithmetic is IEEE 754 and "
            "nothing is contracted\n"
            "   (the pragmas below; otherwise -ffp-contract=off), the numbers are the trainer's, "
            "bit for bit. */\n"
            "#ifndef %s_CONTROLLER_H\n#define %s_CONTROLLER_H\n\n#include <stdint.h>\n\n"
            "#if defined(__clang__)\n#pragma STDC FP_CONTRACT OFF\n#elif defined(__GNUC__)\n"
            "#pragma GCC push_options\n#pragma GCC optimize(\"fp-contract=off\")\n#endif\n\n",
            !c->discrete         ? " in [-1, 1]"
            : c->action_dim == 1 ? " (-1 or +1)"
                                 : " (one of them 1, the others 0)",
            p, p);
}

hwm_status hwm_export_header(const char* path, const char* prefix, const hwm_env_spec* spec,
                             const hwm_controller* controller, const hwm_real* phi,
                             const hwm_real* coef, hwm_export_cost* cost, hwm_error* err) {
    memset(cost, 0, sizeof *cost);
    writer w = {.prefix = prefix, .spec = spec, .c = controller, .coef = coef, .cost = cost};
    w.delta_scale = hwm_controller_delta_scale(controller, phi);
    hwm_status s = check(&w, err);
    if (s != HWM_OK) {
        return s;
    }
    w.out = fopen(path, "w");
    if (!w.out) {
        return hwm_fail(err, HWM_EIO, "cannot write %s: %s", path, strerror(errno));
    }
    head(&w);
    tables(&w);
    state(&w);
    tanh_function(&w);
    hwm_export_learn_function(&w);
    reset_function(&w);
    step_function(&w);
    fprintf(w.out,
            "#if !defined(__clang__) && defined(__GNUC__)\n#pragma GCC pop_options\n#endif\n\n"
            "/* constants %" PRId64 " bytes, state %" PRId64 " bytes; a step: at most %" PRId64
            " multiplications, %" PRId64 " additions, %" PRId64 " tanh, %" PRId64
            " divisions */\n#endif\n",
            cost->rom_bytes, cost->ram_bytes, cost->multiplications, cost->additions, cost->tanhs,
            cost->divisions);
    bool failed = ferror(w.out) != 0;
    failed |= fclose(w.out) != 0;
    if (failed) {
        int error = errno;
        unlink(path);
        return hwm_fail(err, error == ENOSPC ? HWM_EFULL : HWM_EIO, "cannot write %s: %s", path,
                        strerror(error));
    }
    return HWM_OK;
}
