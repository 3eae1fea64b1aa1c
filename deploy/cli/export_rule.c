// The part of the header that changes weights: the rules with coefficients, in the order of
// operations of plastic/learn.c.
#include <inttypes.h>

#include "export_impl.h"

void hwm_export_learn_function(writer* w) {
    const hwm_controller* c = w->c;
    const hwm_rule_config* rule = &c->rule;
    const double w_max = (double)(float)rule->w_max;
    const bool decay = rule->bound == HWM_BOUND_DECAY;
    fprintf(w->out,
            "/* w += m (a pre post + b pre_b + c post + d), then the bound */\n"
            "static inline void %s_learn(float* w, const float* rule, const float* pre, const "
            "float* pre_b,\n"
            "                            const float* post, float m, int n_post, int n_pre%s%s) {\n"
            "    float* from = w;\n"
            "    float largest = 0.0f;\n"
            "    for (int i = 0; i < n_post; i++) {\n"
            "        for (int j = 0; j < n_pre; j++, w++, rule += 4) {\n"
            "            float d = pre[j] * (rule[0] * post[i]) + rule[1] * pre_b[j] + (rule[2] * "
            "post[i] + rule[3]);\n",
            w->prefix, c->row->trace ? ", float* trace" : "", decay ? ", const float* home" : "");
    if (c->row->trace) {
        fprintf(w->out,
                "            d = %af * *trace + d;\n"
                "            *trace++ = d;\n",
                (double)(float)rule->trace_decay);
    }
    if (c->modulator != HWM_MODULATOR_NONE) {
        fprintf(w->out, "            d = m * d;\n");
    }
    if (rule->oja != 0) {
        fprintf(w->out,
                "            float keep = 1.0f - %af * (post[i] * post[i]);\n"
                "            *w = *w * (keep > 0.5f ? keep : 0.5f);\n",
                (double)(float)rule->oja);
    }
    fprintf(w->out, "            *w += d;\n");
    if (rule->bound == HWM_BOUND_CLIP) {
        fprintf(w->out, "            *w = *w > %af ? %af : *w < -%af ? -%af : *w;\n", w_max, w_max,
                w_max, w_max);
    } else if (rule->bound == HWM_BOUND_MAX_NORM) {
        fprintf(w->out, "            float size = *w < 0 ? -*w : *w;\n"
                        "            largest = size > largest ? size : largest;\n");
    } else if (decay) {
        fprintf(w->out, "            *w += %af * (*home++ - *w);\n", (double)(float)rule->decay);
    }
    fprintf(w->out, "        }\n    }\n");
    if (rule->bound == HWM_BOUND_MAX_NORM) {
        fprintf(w->out,
                "    float over = largest / %af;\n"
                "    if (over > 1.0f) {\n"
                "        float inverse = 1.0f / over;\n"
                "        for (int k = 0; k < n_post * n_pre; k++) {\n"
                "            from[k] *= inverse;\n"
                "        }\n"
                "    }\n",
                w_max);
    }
    fprintf(w->out, "    (void)m;\n    (void)from;\n    (void)largest;\n}\n\n");
}

// M of a layer into m1, m2 ..
static void modulator(writer* w, int l) {
    const hwm_controller* c = w->c;
    const hwm_layer *y = &c->layer[l], *head = &c->layer[c->n_layers - 1];
    const char* p = w->prefix;
    const int n = l + 1;
    switch ((hwm_modulator)c->modulator) {
    case HWM_MODULATOR_LINEAR:
        fprintf(w->out,
                "    float m%d = 0.0f;\n"
                "    for (int k = 0; k < %d; k++) {\n        m%d += %s_mod_x%d[k] * s->act[k];\n"
                "    }\n",
                n, c->inputs, n, p, n);
        w->cost->multiplications += c->inputs;
        w->cost->additions += c->inputs;
        if (y->mod_h_c != HWM_NONE) {
            fprintf(w->out,
                    "    for (int k = 0; k < %d; k++) {\n        m%d += %s_mod_h%d[k] * s->act[%zu "
                    "+ k];\n    }\n",
                    head->Q, n, p, n, head->pre_f);
            w->cost->multiplications += head->Q;
            w->cost->additions += head->Q;
        }
        fprintf(w->out, "    m%d = %s_tanh(m%d);\n", n, p, n);
        w->cost->tanhs++;
        break;
    case HWM_MODULATOR_UNIT:
        fprintf(w->out, "    float m%d = s->act[%zu];\n", n, head->pre_f);
        break;
    case HWM_MODULATOR_REWARD:
        fprintf(w->out, "    float m%d = surprise;\n", n);
        break;
    case HWM_MODULATOR_PREDICTION:
        fprintf(w->out,
                "    float m%d = 0.0f;\n"
                "    for (int k = 0; k < %d; k++) {\n        m%d += %s_mod_x%d[k] * s->old_x[k];\n"
                "    }\n"
                "    m%d = %s_tanh(s->act[%zu] - m%d);\n",
                n, c->inputs, n, p, n, n, p, c->reward_f, n);
        w->cost->multiplications += c->inputs;
        w->cost->additions += c->inputs + 1;
        w->cost->tanhs++;
        break;
    case HWM_MODULATOR_LATENT:  // refused
    case HWM_MODULATOR_DEFAULT:
    case HWM_MODULATOR_NONE:
        fprintf(w->out, "    float m%d = 1.0f;\n", n);
        return;
    }
    w->cost->multiplications += (int64_t)y->P * y->Q;
}

// Name of a vector that holds pre or post of the layer.
typedef struct place {
    char s[32];
} place;

static place vector(const char* name, int n) {
    place v;
    snprintf(v.s, sizeof v.s, "s->%.16s%d", name, n);
    return v;
}

static void keep(writer* w, const place* to, const place* from, int n) {
    fprintf(w->out,
            "        for (int k = 0; k < %d; k++) {\n            %s[k] = (%s)[k];\n"
            "        }\n",
            n, to->s, from->s);
}

static void average(writer* w, const place* mean, const place* x, int n) {
    const int64_t window = w->c->rule.average;
    fprintf(w->out,
            "        for (int k = 0; k < %d; k++) {\n            %s[k] += (%s)[k] / %" PRId64
            ".0f;\n        }\n",
            n, mean->s, x->s, window);
    w->cost->divisions += n;
    w->cost->additions += n;
}

static void learn_layer(writer* w, int l) {
    const hwm_controller* c = w->c;
    const hwm_rule_config* rule = &c->rule;
    const hwm_layer* y = &c->layer[l];
    const bool taken = l == c->n_layers - 1 && c->output_action;
    const int64_t n = (int64_t)y->P * y->Q;
    place pre, post, old_pre = vector("old_pre", l + 1), old_post = vector("old_post", l + 1);
    snprintf(pre.s, sizeof pre.s, "s->act + %zu", y->pre_f);
    snprintf(post.s, sizeof post.s, "s->act + %zu", y->post_f);
    if (taken) {
        snprintf(post.s, sizeof post.s, "action");
    }
    modulator(w, l);
    if (y->sum_pre_f != HWM_NONE) {
        place mean_pre = vector("mean_pre", l + 1), mean_post = vector("mean_post", l + 1);
        fprintf(w->out, "    if (s->phase >= %" PRId64 ") {\n", rule->update_every - rule->average);
        average(w, &mean_pre, &pre, y->Q);
        average(w, &mean_post, &post, y->P);
        fprintf(w->out, "    }\n");
        pre = mean_pre;
        post = mean_post;
    }
    if (c->phase_f != HWM_NONE) {
        fprintf(w->out, "    if (s->phase == %" PRId64 ") {\n", rule->update_every - 1);
    } else {
        fprintf(w->out, "    {\n");
    }
    // shifted: pre of A is this step's, everything else of the previous update
    fprintf(w->out, "        %s_learn(s->w%d, %s_rule%d, %s, %s, %s, m%d, %d, %d", w->prefix, l + 1,
            w->prefix, l + 1, c->rule.kind == HWM_RULE_MOD3 ? old_pre.s : pre.s,
            c->row->old ? old_pre.s : pre.s, c->row->old ? old_post.s : post.s, l + 1, y->P, y->Q);
    if (c->row->trace) {
        fprintf(w->out, ", s->trace%d", l + 1);
    }
    if (y->w0_f != HWM_NONE) {
        fprintf(w->out, ", s->home%d", l + 1);
    }
    fprintf(w->out, ");\n");
    if (c->row->old) {
        keep(w, &old_pre, &pre, y->Q);
        keep(w, &old_post, &post, y->P);
    }
    if (y->sum_pre_f != HWM_NONE) {
        fprintf(w->out,
                "        for (int k = 0; k < %d; k++) {\n            %s[k] = 0.0f;\n        }\n"
                "        for (int k = 0; k < %d; k++) {\n            %s[k] = 0.0f;\n        }\n",
                y->Q, pre.s, y->P, post.s);
    }
    fprintf(w->out, "    }\n");

    w->cost->multiplications += 4 * n;
    w->cost->additions += 4 * n;
    if (c->row->trace) {
        w->cost->multiplications += n;
        w->cost->additions += n;
    }
    if (rule->oja != 0) {
        w->cost->multiplications += 3 * n;
        w->cost->additions += n;
    }
    if (rule->bound == HWM_BOUND_MAX_NORM) {
        w->cost->multiplications += n;
        w->cost->divisions += 2;
    } else if (rule->bound == HWM_BOUND_DECAY) {
        w->cost->multiplications += n;
        w->cost->additions += 2 * n;
    }
    w->cost->plastic_synapses += n;
}

void hwm_export_learn(writer* w) {
    const hwm_controller* c = w->c;
    if (c->mean_f != HWM_NONE) {
        fprintf(w->out,
                "    float surprise = s->act[%zu] - s->reward_mean;\n"
                "    s->reward_mean += %af * surprise;\n",
                c->reward_f, (double)(float)c->rule.reward_rate);
        w->cost->multiplications++;
        w->cost->additions += 2;
    }
    for (int l = 0; l < c->n_layers; l++) {
        if (c->layer[l].plastic) {
            learn_layer(w, l);
        }
    }
    if (c->old_x_f != HWM_NONE) {
        fprintf(w->out,
                "    for (int k = 0; k < %d; k++) {\n        s->old_x[k] = s->act[k];\n    }\n",
                c->inputs);
    }
    if (c->phase_f != HWM_NONE) {
        fprintf(w->out, "    s->phase = s->phase + 1 == %" PRId64 " ? 0 : s->phase + 1;\n",
                c->rule.update_every);
    }
}
