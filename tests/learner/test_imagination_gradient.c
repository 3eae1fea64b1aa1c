// Gradient of every coefficient of the rule through imagined steps of rule, controller, world model
// and critic, against central differences in double.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "model/kinds.h"
#include "model/rssm.h"

enum { B = 8, H = 5, O_MAX = 8 };

enum { DRAWS_MAX = B * H * 64 };
static hwm_real draws_y[DRAWS_MAX], draws_p[DRAWS_MAX];
static hwm_rssm_hold hold;

typedef struct world {
    hwm_experiment* experiment;
    hwm_agent* agent;
    hwm_real* g_phi;
} world;

// Last layers that are not zero, with a reward that stays among the small bins.
static void rssm_spread(hwm_model* model, hwm_rng* rng) {
    nn_params* p = hwm_model_params(model);
    for (int i = 0; i < p->list.n; i++) {
        const char* name = p->list.entry[i].spec.name;
        if (strncmp(name, "reward/", 7) != 0 && strncmp(name, "continue/", 9) != 0 &&
            strncmp(name, "decoder/", 8) != 0)
            continue;
        const hwm_tensor_spec* spec = &p->list.entry[i].spec;
        if (spec->ndim == 2)
            nn_params_init_normal(p, i, rng, 0.1);
        else if (strncmp(name, "reward/", 7) == 0 && spec->shape[0] == NN_BINS)
            for (int k = 0; k < NN_BINS; k++)
                p->value[p->list.entry[i].offset + (size_t)k] = -0.2 * (k - 127) * (k - 127);
    }
    hold = (hwm_rssm_hold){.y = draws_y, .p = draws_p, .count = DRAWS_MAX};
    hwm_rssm_model_hold(model, &hold);
}

// A small agent whose model, critic and weights are random but far from every clamp.
static world world_create(const char* text, const char* const* set, int n_set) {
    world w = {0};
    hwm_error err = {0};
    if (hwm_experiment_load(&w.experiment, NULL, text, set, n_set, &err) != HWM_OK)
        fail_msg("%s", err.text);
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    assert_int_equal(hwm_env_describe(&w.experiment->env, spec, &err), HWM_OK);
    const int O = spec->obs_dim, A = spec->action_dim;
    assert_true(O <= O_MAX);
    // a sampled sign has no derivative, unless its log probability is what counts
    spec->discrete &= A > 1 || w.experiment->imagination.gradient == HWM_GRADIENT_REINFORCE;
    if (hwm_agent_create(&w.agent, w.experiment, spec, &err) != HWM_OK)
        fail_msg("%s", err.text);
    free(spec);
    hwm_rng rng;
    hwm_rng_init(&rng, 7, HWM_PURPOSE_TEST, 0, 0, 0);
    nn_params* model = hwm_model_params(w.agent->model);
    for (int i = 0; i < model->list.n; i++)
        if (strncmp(model->list.entry[i].spec.name, "mem", 3) == 0)  // members, memory
            nn_params_init_normal(model, i, &rng, 0.4);
    if (w.experiment->model.kind == HWM_MODEL_RSSM)
        rssm_spread(w.agent->model, &rng);
    nn_params* slow = w.agent->critic->slow;
    for (int i = 0; i < slow->list.n; i++) {
        const hwm_tensor_spec* one = &slow->list.entry[i].spec;
        nn_params_init_normal(slow, i, &rng, one->shape[0] == NN_BINS ? 0.1 : 0.4);
        for (int k = 0; one->ndim == 1 && one->shape[0] == NN_BINS && k < NN_BINS; k++)
            slow->value[slow->list.entry[i].offset + (size_t)k] = -0.2 * (k - 127) * (k - 127);
    }
    hwm_real lo[O_MAX], hi[O_MAX], delta[O_MAX], mean[O_MAX], std[O_MAX];
    for (int j = 0; j < O; j++) {
        lo[j] = -50;
        hi[j] = 50;
        delta[j] = 0.2 + 0.05 * j;
        mean[j] = 0.3 - 0.1 * j;
        std[j] = 0.5 + 0.3 * j;
    }
    hwm_replay_statistics wide = {lo, hi, delta, -50, 50, mean, std};
    hwm_model_refresh(w.agent->model, &wide, 0);

    hwm_starts* s = hwm_imagination_starts(w.agent->imagination);
    const int S = hwm_controller_state_size(w.agent->controller);
    for (int i = 0; i < B; i++) {
        for (int j = 0; j < O; j++) {
            s->z[i * hwm_model_latent(w.agent->model) + j] = 0.5 * (double)hwm_rng_normal(&rng);
            s->previous_obs[i * O + j] = 0.5 * (double)hwm_rng_normal(&rng);
        }
        for (int j = O; j < hwm_model_latent(w.agent->model); j++)
            s->z[i * hwm_model_latent(w.agent->model) + j] = 0.5 * (double)hwm_rng_normal(&rng);
        for (int j = 0; j < A; j++)
            s->previous_action[i * A + j] = hwm_rng_uniform(&rng) < 0.5F ? -0.7 : 0.6;
        s->previous_reward[i] = 0.3;
        s->first[i] = i % 4 == 0;
        s->alive[i] = i == 3 ? 0 : 1;
        s->fresh[i] = i % 4 == 0 || i == 5;
        float row[1024];
        assert_true(S <= 1024);
        for (int j = 0; j < S; j++)
            row[j] = 0.6F * hwm_rng_normal(&rng);
        hwm_lanes_set(s->state, i, S, row);
    }
    w.g_phi = calloc(w.agent->phi->list.count, sizeof *w.g_phi);
    return w;
}

static void world_destroy(world* w) {
    free(w->g_phi);
    hwm_agent_destroy(&w->agent);
    hwm_experiment_destroy(&w->experiment);
}

static double loss_of(world* w) {
    hwm_imagination_report report = {0};
    hold.used = 0;
    hold.keep = false;
    hwm_imagination_gradient(w->agent->imagination, w->agent->phi->value, 3, NULL, &report);
    return report.actor_loss;
}

static void check(const char* text, const char* const* set, int n_set) {
    world w = world_create(text, set, n_set);
    hwm_imagination_report report = {0};
    hold.used = 0;
    hold.keep = true;
    hwm_imagination_gradient(w.agent->imagination, w.agent->phi->value, 3, w.g_phi, &report);
    hwm_imagination_hold_weights(w.agent->imagination, true);  // they carry no gradient

    nn_params* phi = w.agent->phi;
    double largest = 0, scale = 0;
    for (size_t i = 0; i < phi->list.count; i++)
        scale = fmax(scale, fabs(w.g_phi[i]));
    assert_true(scale > 1e-4);
    const int rule = hwm_controller_params(w.agent->controller)->n;
    for (int e = 0; e < phi->list.n; e++) {
        const hwm_param_entry* entry = &phi->list.entry[e];
        const char* name = entry->spec.name;
        for (size_t k = 0; e >= rule && k < hwm_tensor_count(&entry->spec); k++)
            assert_true(w.g_phi[entry->offset + k] == 0);  // the model's, which workers need
        if (e >= rule || strcmp(name, "input.delta_scale") == 0)
            continue;  // a constant of the experiment
        double tensor = 0;
        for (size_t k = 0; k < hwm_tensor_count(&entry->spec); k++) {
            const size_t i = entry->offset + k;
            const double kept = phi->value[i], h = 1e-5;
            phi->value[i] = kept + h;
            const double up = loss_of(&w);
            phi->value[i] = kept - h;
            const double down = loss_of(&w);
            phi->value[i] = kept;
            const double numeric = (up - down) / (2 * h);
            const double error = fabs(numeric - w.g_phi[i]) / scale;
            largest = fmax(largest, error);
            tensor = fmax(tensor, fabs(w.g_phi[i]));
            if (error > 1e-6)
                fail_msg("%s[%zu]: analytic %.12g, numeric %.12g", name, k, w.g_phi[i], numeric);
        }
        if (tensor == 0)
            fail_msg("%s: no gradient at all", name);
    }
    print_message("largest error %.2g of the largest gradient %.3g\n", largest, scale);
    world_destroy(&w);
}

#define COMMON                                                                                     \
    "controller:\n  hidden: [5]\n"                                                                 \
    "imagination:\n  batch: 8\n  horizon: 5\n  entropy: 0.05\n"                                    \
    "worker:\n  explore_std: 0.05\n"                                                               \
    "train:\n  gamma: 0.9\n  lambda: 0.8\n"

static void test_abcd_ensemble(void** state) {
    (void)state;
    check(COMMON "model:\n  members: 2\n  units: 8\n", NULL, 0);
}

static void test_abcd_learned_mean(void** state) {
    (void)state;
    static const char* const set[] = {"rule.bound=none", "controller.weights_mean=true"};
    check(COMMON "model:\n  members: 2\n  units: 8\n", set, 2);
}

static void test_abcd_deltas(void** state) {
    (void)state;
    static const char* const set[] = {"controller.inputs=[o, d, a]", "rule.granularity=layer"};
    check(COMMON "model:\n  members: 4\n  units: 6\n  layers: 1\n", set, 2);
}

static void test_mod3_context(void** state) {
    (void)state;
    static const char* const set[] = {"controller.inputs=[o, d]", "rule.kind=mod3",
                                      "controller.plastic=[last]", "rule.terms=AC"};
    check(COMMON "model:\n  kind: context\n  members: 2\n  units: 8\n", set, 4);
}

static void test_mod3_all_layers(void** state) {
    (void)state;
    static const char* const set[] = {"controller.inputs=[o, d, a]", "rule.kind=mod3"};
    check(COMMON "model:\n  members: 2\n  units: 8\n", set, 2);
}

static void test_silu_and_known_reward(void** state) {
    (void)state;
    static const char* const set[] = {"model.activation=silu", "model.terminals=false"};
    check(COMMON "model:\n  members: 2\n  units: 8\n", set, 2);
}

static void test_abcd_reinforce(void** state) {
    (void)state;
    static const char* const set[] = {"imagination.gradient=reinforce", "imagination.horizon=4"};
    check(COMMON "model:\n  members: 2\n  units: 8\n", set, 2);
}

static void test_mod3_percentile_twohot(void** state) {
    (void)state;
    static const char* const set[] = {"controller.inputs=[o, d]", "rule.kind=mod3",
                                      "imagination.normalise=percentile", "train.critic=twohot"};
    check(COMMON "model:\n  members: 2\n  units: 8\n", set, 4);
}

static void test_mod3_gru(void** state) {
    (void)state;
    static const char* const set[] = {"controller.inputs=[o, d]", "rule.kind=mod3"};
    check(COMMON "model:\n  kind: gru\n  members: 2\n  units: 8\n  memory_units: 6\n", set, 2);
}

static void test_abcd_rssm(void** state) {
    (void)state;
    check(COMMON "model:\n  kind: rssm\n  sequences: 2\n  sequence_steps: 4\n", NULL, 0);
}

static void test_mod3_rssm(void** state) {
    (void)state;
    static const char* const set[] = {"controller.inputs=[o, d]", "rule.kind=mod3",
                                      "controller.plastic=[last]"};
    check(COMMON "model:\n  kind: rssm\n  sequences: 2\n  sequence_steps: 4\n", set, 3);
}

// M reads the latent: its gradient reaches the weights of M and, through the model, what was done
// before.
static void test_latent_modulator(void** state) {
    (void)state;
    static const char* const set[] = {"controller.inputs=[o, d]", "rule.kind=mod3",
                                      "rule.modulator=latent", "rule.modulator_std=2"};
    check(COMMON "model:\n  kind: rssm\n  sequences: 2\n  sequence_steps: 4\n", set, 4);
    static const char* const trace[] = {"rule.kind=trace", "rule.modulator=latent",
                                        "rule.bound=none", "imagination.gradient=reinforce"};
    check(COMMON "model:\n  kind: rssm\n  sequences: 2\n  sequence_steps: 4\n", trace, 4);
}

static void test_standardised(void** state) {
    (void)state;
    static const char* const set[] = {"model.standardise=true", "controller.inputs=[o, d]",
                                      "rule.phi_std=1", "rule.bound=none"};
    check(COMMON "model:\n  members: 2\n  units: 8\n", set, 4);
}

// Imagined rewards reach the rule: as modulator, as what is left of a prediction, as input.
static void test_recurrent_miconi(void** state) {
    (void)state;
    static const char* const modulator[] = {"rule.modulator=reward", "rule.modulator=prediction",
                                            "rule.modulator=linear"};
    for (int k = 0; k < 3; k++) {
        const char* const set[] = {"controller.cell=recurrent", "controller.plastic=[recurrent]",
                                   "rule.kind=miconi",          "rule.phi_std=0.5",
                                   "controller.inputs=[o, r]",  modulator[k]};
        check(COMMON "model:\n  members: 2\n  units: 8\n", set, 6);
    }
}

static void test_network_rule_and_trace(void** state) {
    (void)state;
    static const char* const network[] = {"rule.kind=network", "rule.phi_std=1"};
    check(COMMON "model:\n  members: 2\n  units: 8\n", network, 2);
    static const char* const trace[] = {"rule.kind=trace", "rule.modulator=reward",
                                        "rule.bound=none", "rule.phi_std=0.5",
                                        "controller.cell=recurrent"};
    check(COMMON "model:\n  members: 2\n  units: 8\n", trace, 5);
}

// One of three symbols: a draw has no derivative, so only that the gradient reaches every tensor
// and is repeated.
static void test_choices_reach_every_tensor(void** state) {
    (void)state;
    static const char* const set[] = {"env.name=sequence",
                                      "env.symbols=3",
                                      "controller.cell=recurrent",
                                      "rule.kind=miconi",
                                      "controller.plastic=[recurrent]",
                                      "rule.phi_std=0.5"};
    world w = world_create(COMMON "model:\n  members: 2\n  units: 8\n  terminals: false\n", set, 6);
    hwm_imagination_report report = {0}, again = {0};
    hwm_imagination_gradient(w.agent->imagination, w.agent->phi->value, 3, w.g_phi, &report);
    const hwm_param_list* list = &w.agent->phi->list;
    for (int e = 0; e < list->n; e++) {
        double tensor = 0;
        for (size_t k = 0; k < hwm_tensor_count(&list->entry[e].spec); k++) {
            assert_true(isfinite(w.g_phi[list->entry[e].offset + k]));
            tensor = fmax(tensor, fabs(w.g_phi[list->entry[e].offset + k]));
        }
        if (tensor == 0)
            fail_msg("%s: no gradient at all", list->entry[e].spec.name);
    }
    hwm_imagination_gradient(w.agent->imagination, w.agent->phi->value, 3, w.g_phi, &again);
    assert_true(report.actor_loss == again.actor_loss);
    world_destroy(&w);
}

// Continue as a function of the predicted observation, and starts weighed by it; the penalty on
// outputs beyond their useful range.
static void test_known_continue_and_saturation(void** state) {
    (void)state;
    static const char* const set[] = {"model.continue_of=theta", "model.continue_slope=3",
                                      "model.terminals=false", "imagination.saturation=0.3",
                                      "rule.phi_std=1"};
    check(COMMON "model:\n  members: 2\n  units: 8\n", set, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abcd_reinforce),
        cmocka_unit_test(test_mod3_percentile_twohot),
        cmocka_unit_test(test_mod3_gru),
        cmocka_unit_test(test_abcd_rssm),
        cmocka_unit_test(test_mod3_rssm),
        cmocka_unit_test(test_latent_modulator),
        cmocka_unit_test(test_abcd_ensemble),
        cmocka_unit_test(test_abcd_learned_mean),
        cmocka_unit_test(test_abcd_deltas),
        cmocka_unit_test(test_mod3_context),
        cmocka_unit_test(test_mod3_all_layers),
        cmocka_unit_test(test_silu_and_known_reward),
        cmocka_unit_test(test_recurrent_miconi),
        cmocka_unit_test(test_network_rule_and_trace),
        cmocka_unit_test(test_choices_reach_every_tensor),
        cmocka_unit_test(test_known_continue_and_saturation),
        cmocka_unit_test(test_standardised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
