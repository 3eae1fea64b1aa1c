// data path  [8] learner: world model
#include "model/rssm.h"

#include <math.h>
#include <string.h>

#include "nn/layers.h"

static const hwm_rssm_sizes presets[] = {
    {"nano", 96, 96, 8, 96, 8, 1, 16, 32},          {"size1m", 512, 64, 4, 64, 32, 8, 16, 64},
    {"size12m", 2048, 256, 16, 256, 32, 8, 16, 64}, {"size25m", 3072, 384, 24, 384, 32, 8, 16, 64},
    {"size50m", 4096, 512, 32, 512, 32, 8, 16, 64},
};

int hwm_rssm_presets(void) {
    return (int)(sizeof presets / sizeof presets[0]);
}

const hwm_rssm_sizes* hwm_rssm_preset(int preset) {
    HWM_ASSERT(preset >= 0 && preset < hwm_rssm_presets());
    return &presets[preset];
}

hwm_rssm_options hwm_rssm_default_options(void) {
    return (hwm_rssm_options){.unimix = 0.01,
                              .free_nats = 1.0,
                              .dynamics_scale = 1.0,
                              .posterior_scale = 0.1,
                              .obs_weight = 1.0,
                              .reward_weight = 1.0,
                              .continue_weight = 1.0};
}

void hwm_rssm_declare(hwm_rssm* r, hwm_param_list* list, const hwm_rssm_sizes* size,
                      const hwm_rssm_options* options, int obs, int action) {
    const int D = size->deter, H = size->hidden, U = size->units, G = size->blocks;
    const int Z = size->variables * size->classes, F = D + Z;
    *r = (hwm_rssm){.size = *size, .options = *options, .obs = obs, .action = action};
    hwm_head_declare(&r->encoder, list, "encoder", obs, 3, U, 0, 1.0);
    hwm_layer_declare(&r->in_deter, list, "dynamics/deter", D, H, 1);
    hwm_layer_declare(&r->in_stoch, list, "dynamics/stoch", Z, H, 1);
    hwm_layer_declare(&r->in_action, list, "dynamics/action", action, H, 1);
    hwm_layer_declare(&r->hidden, list, "dynamics/hidden", D + G * 3 * H, D, G);
    r->gates_w =
        hwm_param_list_add(list, hwm_spec("dynamics/gates/weight", HWM_F32, 2, 3 * D, D / G));
    r->gates_b = hwm_param_list_add(list, hwm_spec("dynamics/gates/bias", HWM_F32, 1, 3 * D));
    hwm_head_declare(&r->prior, list, "prior", D, 2, H, Z, 1.0);
    hwm_head_declare(&r->posterior, list, "posterior", D + U, 1, H, Z, 1.0);
    hwm_head_declare(&r->decoder, list, "decoder", F, 3, U, obs, 1.0);
    hwm_head_declare(&r->reward, list, "reward", F, 1, U, NN_BINS, 0.0);
    hwm_head_declare(&r->cont, list, "continue", F, 1, U, 1, 1.0);
    nn_twohot_bins(r->bins);
}

void hwm_rssm_init(const hwm_rssm* r, nn_params* params, hwm_rng* rng) {
    hwm_head_init(&r->encoder, params, rng);
    hwm_layer_init(&r->in_deter, params, rng);
    hwm_layer_init(&r->in_stoch, params, rng);
    hwm_layer_init(&r->in_action, params, rng);
    hwm_layer_init(&r->hidden, params, rng);
    nn_params_init_trunc(params, r->gates_w, rng, r->size.deter, 1.0);
    nn_params_fill(params, r->gates_b, 0.0);
    hwm_head_init(&r->prior, params, rng);
    hwm_head_init(&r->posterior, params, rng);
    hwm_head_init(&r->decoder, params, rng);
    hwm_head_init(&r->reward, params, rng);
    hwm_head_init(&r->cont, params, rng);
}

void hwm_rssm_bind(const hwm_rssm* r, nn_tape* tape, nn_params* params, bool frozen,
                   hwm_rssm_vars* v) {
    *v = (hwm_rssm_vars){.r = r};
    hwm_head_bind(&r->encoder, tape, params, frozen, &v->encoder);
    hwm_head_bind(&r->decoder, tape, params, frozen, &v->decoder);
    hwm_head_bind(&r->reward, tape, params, frozen, &v->reward);
    hwm_head_bind(&r->cont, tape, params, frozen, &v->cont);
    hwm_head_bind(&r->prior, tape, params, frozen, &v->prior);
    hwm_head_bind(&r->posterior, tape, params, frozen, &v->posterior);
    v->in_deter = hwm_layer_bind(&r->in_deter, tape, params, frozen);
    v->in_stoch = hwm_layer_bind(&r->in_stoch, tape, params, frozen);
    v->in_action = hwm_layer_bind(&r->in_action, tape, params, frozen);
    v->hidden = hwm_layer_bind(&r->hidden, tape, params, frozen);
    v->gates_w = nn_param(tape, params, r->gates_w);
    v->gates_b = nn_param(tape, params, r->gates_b);
    if (frozen)
        v->gates_w->g = v->gates_b->g = NULL;
}

hwm_rssm_vars hwm_rssm_twin(const hwm_rssm_vars* v, hwm_twin to) {
    return (hwm_rssm_vars){.r = v->r,
                           .encoder = hwm_head_twin(&v->encoder, to),
                           .decoder = hwm_head_twin(&v->decoder, to),
                           .reward = hwm_head_twin(&v->reward, to),
                           .cont = hwm_head_twin(&v->cont, to),
                           .prior = hwm_head_twin(&v->prior, to),
                           .posterior = hwm_head_twin(&v->posterior, to),
                           .in_deter = hwm_layer_twin(&v->in_deter, to),
                           .in_stoch = hwm_layer_twin(&v->in_stoch, to),
                           .in_action = hwm_layer_twin(&v->in_action, to),
                           .hidden = hwm_layer_twin(&v->hidden, to),
                           .gates_w = hwm_twin_of(to, v->gates_w),
                           .gates_b = hwm_twin_of(to, v->gates_b)};
}

void hwm_rssm_prepare(const hwm_rssm_vars* v, hwm_precision precision, nn_tape* tape) {
    const hwm_head_vars* heads[] = {&v->encoder, &v->prior,  &v->posterior,
                                    &v->decoder, &v->reward, &v->cont};
    for (int i = 0; i < 6; i++)
        hwm_head_prepare(heads[i], precision, i >= 3, tape);  // those read the stochastic state
    const hwm_layer_vars* layers[] = {&v->in_deter, &v->in_action, &v->hidden};
    for (int i = 0; i < 3; i++)
        hwm_layer_prepare(layers[i], precision, false, tape);
    hwm_layer_prepare(&v->in_stoch, precision, true, tape);
    hwm_weight_prepare(v->gates_w, v->r->size.blocks, precision, false, tape);
}

// ---- one step

hwm_rssm_state hwm_rssm_zero(const hwm_rssm* r, nn_tape* tape, int N) {
    const int Z = r->size.variables * r->size.classes;
    hwm_rssm_state s = {nn_new(tape, N, r->size.deter, false), nn_new(tape, N, Z, false)};
    memset(s.deter->x, 0, (size_t)N * (size_t)r->size.deter * sizeof(hwm_real));
    memset(s.stoch->x, 0, (size_t)N * (size_t)Z * sizeof(hwm_real));
    return s;
}

nn_var hwm_rssm_features(nn_tape* tape, hwm_rssm_state s) {
    return nn_concat(tape, 2, (nn_var[]){s.deter, s.stoch});
}

nn_var hwm_rssm_encode(const hwm_rssm_vars* v, nn_tape* tape, nn_var o) {
    return hwm_head_forward(&v->encoder, tape, nn_symlog(tape, o));
}

nn_var hwm_rssm_recur(const hwm_rssm_vars* v, nn_tape* tape, hwm_rssm_state s, nn_var action) {
    nn_var inputs =
        nn_concat(tape, 3,
                  (nn_var[]){hwm_layer_forward(&v->in_deter, tape, s.deter),
                             hwm_layer_forward(&v->in_stoch, tape, s.stoch),
                             hwm_layer_forward(&v->in_action, tape, nn_squash(tape, action))});
    nn_var h = hwm_layer_forward_parts(&v->hidden, tape, s.deter, inputs);
    return nn_gru_layer(tape, h, v->gates_w, v->gates_b, s.deter, v->r->size.blocks);
}

nn_var hwm_rssm_prior(const hwm_rssm_vars* v, nn_tape* tape, nn_var deter) {
    return nn_categorical(tape, hwm_head_forward(&v->prior, tape, deter), v->r->size.classes,
                          (hwm_real)v->r->options.unimix);
}

nn_var hwm_rssm_posterior(const hwm_rssm_vars* v, nn_tape* tape, nn_var deter, nn_var tokens) {
    nn_var logits = hwm_head_forward_parts(&v->posterior, tape, deter, tokens);
    return nn_categorical(tape, logits, v->r->size.classes, (hwm_real)v->r->options.unimix);
}

static void hold_draw(hwm_rssm_hold* h, nn_var y, nn_var p) {
    const size_t n = (size_t)y->rows * (size_t)y->cols;
    HWM_ASSERT(h->used + n <= h->count);
    hwm_real *y0 = h->y + h->used, *p0 = h->p + h->used;
    h->used += n;
    for (size_t i = 0; i < n; i++)
        if (h->keep) {
            y0[i] = y->x[i];
            p0[i] = p->x[i];
        } else {
            y->x[i] = y0[i] + (p->x[i] - p0[i]);
            y->hot = NULL;
        }
}

hwm_rssm_state hwm_rssm_imagine(const hwm_rssm_vars* v, nn_tape* tape, hwm_rssm_state s,
                                nn_var action, const hwm_real* draws) {
    nn_var deter = hwm_rssm_recur(v, tape, s, action);
    nn_var p = hwm_rssm_prior(v, tape, deter);
    nn_var y = nn_one_hot(tape, p, v->r->size.classes, draws);
    if (v->r->hold)
        hold_draw(v->r->hold, y, p);
    return (hwm_rssm_state){deter, y};
}

// ---- a batch

hwm_rssm_unrolled hwm_rssm_unroll(const hwm_rssm_vars* v, nn_tape* tape, const hwm_rssm_batch* b) {
    const hwm_rssm* r = v->r;
    const int N = b->N, T = b->T, O = r->obs, A = r->action, S = r->size.variables,
              Z = S * r->size.classes;
    nn_var tokens = hwm_rssm_encode(v, tape, nn_wrap(tape, b->obs, NULL, T * N, O));
    hwm_rssm_state s = hwm_rssm_zero(r, tape, N);
    if (b->deter)
        s = (hwm_rssm_state){nn_wrap(tape, b->deter, NULL, N, r->size.deter),
                             nn_wrap(tape, b->stoch, NULL, N, Z)};
    nn_var* deter = nn_tape_alloc(tape, (size_t)T * sizeof *deter);
    nn_var* stoch = nn_tape_alloc(tape, (size_t)T * sizeof *stoch);
    nn_var* posterior = nn_tape_alloc(tape, (size_t)T * sizeof *posterior);
    for (int t = 0; t < T; t++) {
        // an episode's first row starts from zero
        const hwm_real* keep = b->keep + (size_t)t * (size_t)N;
        s = (hwm_rssm_state){nn_mask_rows(tape, s.deter, keep), nn_mask_rows(tape, s.stoch, keep)};
        nn_var a = nn_wrap(tape, b->action + (size_t)t * (size_t)N * (size_t)A, NULL, N, A);
        deter[t] = hwm_rssm_recur(v, tape, s, nn_mask_rows(tape, a, keep));
        posterior[t] = hwm_rssm_posterior(v, tape, deter[t], nn_rows(tape, tokens, t * N, N));
        stoch[t] = nn_one_hot(tape, posterior[t], r->size.classes,
                              b->draws + (size_t)t * (size_t)N * (size_t)S);
        s = (hwm_rssm_state){deter[t], stoch[t]};
    }
    return (hwm_rssm_unrolled){nn_stack(tape, T, deter), nn_stack(tape, T, stoch),
                               nn_stack(tape, T, posterior)};
}

void hwm_rssm_loss(const hwm_rssm_vars* v, nn_tape* tape, const hwm_rssm_batch* b,
                   const hwm_rssm_unrolled* u, double share, hwm_rssm_losses* losses) {
    const hwm_rssm* r = v->r;
    const hwm_rssm_options* o = &r->options;
    const int rows = b->N * b->T;
    nn_var target = nn_symlog(tape, nn_wrap(tape, b->obs, NULL, rows, r->obs));
    nn_var obs =
        nn_mean(tape,
                nn_squared_error(
                    tape, hwm_head_forward_parts(&v->decoder, tape, u->deter, u->stoch), target->x),
                b->weight);
    nn_var reward =
        nn_mean(tape,
                nn_twohot_loss(tape, hwm_head_forward_parts(&v->reward, tape, u->deter, u->stoch),
                               b->reward, r->bins),
                b->weight);
    nn_var cont =
        nn_mean(tape,
                nn_bernoulli_log_prob(
                    tape, hwm_head_forward_parts(&v->cont, tape, u->deter, u->stoch), b->cont),
                b->cont_weight ? b->cont_weight : b->weight);

    // KL in both directions of the stopped gradient, free nats on the sum of a step
    nn_var prior = hwm_rssm_prior(v, tape, u->deter);
    const hwm_real low = (hwm_real)o->free_nats;
    nn_var dynamics = nn_kl(tape, nn_stop(tape, u->posterior), prior);
    nn_var posterior = nn_kl(tape, u->posterior, nn_stop(tape, prior));
    nn_var dyn = nn_mean(tape, nn_at_least(tape, dynamics, low), b->weight);
    nn_var rep = nn_mean(tape, nn_at_least(tape, posterior, low), b->weight);

    nn_seed(obs, (hwm_real)(share * o->obs_weight));
    nn_seed(reward, (hwm_real)(share * o->reward_weight));
    nn_seed(cont, -(hwm_real)(share * o->continue_weight));
    nn_seed(dyn, (hwm_real)(share * o->dynamics_scale));
    nn_seed(rep, (hwm_real)(share * o->posterior_scale));
    *losses = (hwm_rssm_losses){.obs = obs->x[0],
                                .reward = reward->x[0],
                                .cont = -cont->x[0],
                                .kl = nn_mean(tape, nn_stop(tape, dynamics), b->weight)->x[0]};
    losses->total = o->obs_weight * losses->obs + o->reward_weight * losses->reward +
                    o->continue_weight * losses->cont + o->dynamics_scale * dyn->x[0] +
                    o->posterior_scale * rep->x[0];
}

// ---- multiply-adds

double hwm_rssm_step_macs(const hwm_rssm* r) {
    const hwm_layer* l = &r->hidden;
    const double D = r->size.deter, G = r->size.blocks;
    return (double)r->in_deter.in * r->in_deter.out + (double)r->in_stoch.in * r->in_stoch.out +
           (double)r->in_action.in * r->in_action.out + (double)l->in / l->blocks * l->out +
           3.0 * D * D / G + hwm_head_macs(&r->prior);
}

double hwm_rssm_observe_macs(const hwm_rssm* r) {
    return hwm_head_macs(&r->encoder) + hwm_head_macs(&r->posterior) + hwm_head_macs(&r->decoder) +
           hwm_head_macs(&r->reward) + hwm_head_macs(&r->cont);
}
