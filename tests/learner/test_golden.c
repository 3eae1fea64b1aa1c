// One update of everything against numbers from an independent implementation (golden/golden.py):
// every loss, gradient and parameter change of the ensemble, of the context model, of the RSSM
// (tensor by tensor, size and product), and of explicit imagination with `abcd` and `mod3`.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants the four above first
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "batch.h"

enum { O = 4, A = 1, B = 8, N = 16 };

// The numbers that both sides use for everything: n of a stream.
static double v(int stream, size_t k) {
    return sin(12.9898 * (double)(k + 1) + 78.233 * stream);
}

static void fill(double* x, size_t n, int stream, double scale) {
    for (size_t k = 0; k < n; k++)
        x[k] = scale * v(stream, k);
}

static void close_to(const char* what, double have, double want) {
    if (fabs(have - want) > 1e-9 * fmax(1, fabs(want)))
        fail_msg("%s: have %.15g, want %.15g", what, have, want);
}

static void all_close(const char* what, const double* have, size_t n, const json_t* want) {
    assert_int_equal(json_array_size(want), n);
    for (size_t i = 0; i < n; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s[%zu]", what, i);
        close_to(text, have[i], json_number_value(json_array_get(want, i)));
    }
}

// The lists have the same names, shapes and order on both sides.
static void same_entries(const hwm_param_list* list, const json_t* want) {
    assert_int_equal(json_array_size(want), (size_t)list->n);
    for (int i = 0; i < list->n; i++) {
        const hwm_tensor_spec* s = &list->entry[i].spec;
        char text[128];
        int used = snprintf(text, sizeof text, "%s ", s->name);
        for (int d = 0; d < s->ndim; d++)
            used += snprintf(text + used, sizeof text - (size_t)used, "%s%u", d ? "x" : "",
                             s->shape[d]);
        assert_string_equal(text, json_string_value(json_array_get(want, (size_t)i)));
    }
}

static double number(const json_t* o, const char* key) {
    const json_t* x = json_object_get(o, key);
    assert_true(json_is_number(x));
    return json_number_value(x);
}

static hwm_agent* agent_create(const char* text, hwm_experiment** e) {
    static const char common[] =
        "imagination: {batch: 8, horizon: 5, entropy: 0.05}\n"
        "worker: {explore_std: 0}\n"
        "train: {gamma: 0.9, lambda: 0.8, lr: 0.003, clip_norm: 0.05, critic_units: 8}\n";
    char whole[2048];
    snprintf(whole, sizeof whole, "%s%s", common, text);
    hwm_error err = {0};
    if (hwm_experiment_load(e, NULL, whole, NULL, 0, &err) != HWM_OK)
        fail_msg("%s", err.text);
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    hwm_agent* a;
    assert_int_equal(hwm_env_describe(&(*e)->env, spec, &err), HWM_OK);
    spec->discrete = false;  // a sampled sign would need the same random numbers on both sides
    if (hwm_agent_create(&a, *e, spec, &err) != HWM_OK)
        fail_msg("%s", err.text);
    free(spec);

    nn_params* p = hwm_model_params(a->model);
    fill(p->value, p->list.count, 2, 0.5);
    for (int j = 0; j < O; j++) {
        p->value[p->list.entry[hwm_param_list_find(&p->list, "delta_scale")].offset + (size_t)j] =
            0.2 + 0.05 * j;
        p->value[p->list.entry[hwm_param_list_find(&p->list, "obs_min")].offset + (size_t)j] = -1;
        p->value[p->list.entry[hwm_param_list_find(&p->list, "obs_max")].offset + (size_t)j] = 1;
    }
    double* range = p->value + p->list.entry[hwm_param_list_find(&p->list, "reward_range")].offset;
    range[0] = -0.5;
    range[1] = 0.6;
    p->value[p->list.count - 1] = 1;
    fill(a->phi->value, a->phi->list.count, 1, 0.4);
    const int scale = hwm_param_list_find(&a->phi->list, "input.delta_scale");
    for (size_t j = 0; scale >= 0 && j < O; j++)
        a->phi->value[a->phi->list.entry[scale].offset + j] = 0.6;
    fill(a->critic->params->value, a->critic->params->list.count, 3, 0.3);
    fill(a->critic->slow->value, a->critic->slow->list.count, 4, 0.3);
    return a;
}

static void check_model(hwm_agent* a, const json_t* want) {
    hwm_sequences s;
    const int C = hwm_model_context(a->model);
    assert_int_equal(hwm_sequences_alloc(&s, N, 2, C, O, A), HWM_OK);
    fill(s.obs, N * 2 * O, 9, 0.6);
    fill(s.action, N * 2 * A, 10, 1);
    fill(s.reward, N * 2, 11, 0.5);
    fill(s.hindsight, (size_t)(N * C * (2 * O + A)), 12, 0.5);
    for (int i = 0; i < N; i++) {
        s.valid[2 * i] = 1;
        s.valid[2 * i + 1] = i % 7 != 6;
        s.terminal[2 * i + 1] = i % 5 == 0;
    }
    nn_params* p = hwm_model_params(a->model);
    same_entries(&p->list, json_object_get(want, "entries"));
    hwm_model_losses losses;
    hwm_error err = {0};
    hwm_rng rng;
    hwm_rng_init(&rng, 0, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_model_gradient(a->model, &s, &rng, &losses);
    close_to("model total", losses.total, number(want, "total"));
    close_to("model obs", losses.obs, number(want, "obs"));
    close_to("model reward", losses.reward, number(want, "reward"));
    close_to("model continue", losses.cont, number(want, "continue"));
    all_close("model gradient", p->grad, p->list.count, json_object_get(want, "gradient"));
    for (size_t t = 0; t < 3; t++) {
        assert_int_equal(hwm_model_update(a->model, &s, &rng, &losses, &err), HWM_OK);
        close_to("model norm", losses.gradient_norm,
                 json_number_value(json_array_get(json_object_get(want, "norms"), t)));
    }
    all_close("model after", p->value, p->list.count, json_object_get(want, "after"));
    hwm_sequences_free(&s);
}

static void check_behaviour(hwm_agent* a, const json_t* want, const json_t* want_critic) {
    hwm_starts* s = hwm_imagination_starts(a->imagination);
    const size_t Z = (size_t)hwm_model_latent(a->model);
    const int S = hwm_controller_state_size(a->controller);
    fill(s->z, B * Z, 5, 0.5);
    double* state = calloc((size_t)(B * S), sizeof *state);
    fill(state, (size_t)(B * S), 6, 0.4);
    hwm_lanes_pack(s->state, state, B, S);
    free(state);
    fill(s->previous_obs, B * O, 7, 0.5);
    fill(s->previous_action, B * A, 8, 1);
    for (int i = 0; i < B; i++) {
        s->previous_reward[i] = 0;
        s->first[i] = i % 4 == 0;
        s->alive[i] = i != 3;
        s->fresh[i] = 0;
        s->age[i] = 0;
    }
    nn_params* phi = a->phi;
    same_entries(&phi->list, json_object_get(want, "entries"));
    same_entries(&a->critic->params->list, json_object_get(want_critic, "entries"));
    hwm_imagination_report report = {0};
    hwm_error err = {0};
    const size_t rows = (size_t)(B * 5), F = (size_t)hwm_model_features(a->model);
    double* features = calloc(rows * F, sizeof *features);
    double *returns = calloc(rows, sizeof *returns), *weights = calloc(rows, sizeof *weights);
    for (size_t t = 0; t < 3; t++) {
        double norm;
        hwm_imagination_gradient(a->imagination, phi->value, 0, phi->grad, &report);
        if (t == 0) {
            close_to("actor loss", report.actor_loss, number(want, "loss"));
            all_close("gradient", phi->grad, phi->list.count, json_object_get(want, "gradient"));
            memcpy(features, hwm_imagination_features(a->imagination), rows * F * sizeof *features);
            memcpy(returns, hwm_imagination_returns(a->imagination), rows * sizeof *returns);
            memcpy(weights, hwm_imagination_weights(a->imagination), rows * sizeof *weights);
            all_close("returns", returns, rows, json_object_get(want, "returns"));
            all_close("weights", weights, rows, json_object_get(want, "weights"));
        }
        assert_int_equal(nn_optim_apply(a->phi_optim, phi, &norm, &err), HWM_OK);
        close_to("norm", norm,
                 json_number_value(json_array_get(json_object_get(want, "norms"), t)));
    }
    all_close("phi after", phi->value, phi->list.count, json_object_get(want, "after"));
    for (int t = 0; t < 3; t++) {
        hwm_critic_batch batch = {.rows = (int)rows,
                                  .features = features,
                                  .target = returns,
                                  .weight = weights,
                                  .scale = 1};
        assert_int_equal(hwm_critic_update(a->critic, &batch, 1, &err), HWM_OK);
        if (t == 0)
            close_to("critic loss", batch.loss, number(want_critic, "loss"));
    }
    all_close("critic after", a->critic->params->value, a->critic->params->list.count,
              json_object_get(want_critic, "after"));
    free(features);
    free(returns);
    free(weights);
}

static void check_case(size_t index, const char* text) {
    json_error_t bad;
    json_t* all = json_load_file(GOLDEN, 0, &bad);
    if (!all)
        fail_msg("%s: %s", GOLDEN, bad.text);
    const json_t* want = json_array_get(all, index);
    hwm_experiment* e;
    hwm_agent* a = agent_create(text, &e);
    check_behaviour(a, json_object_get(want, "controller"), json_object_get(want, "critic"));
    check_model(a, json_object_get(want, "model"));
    hwm_agent_destroy(&a);
    hwm_experiment_destroy(&e);
    json_decref(all);
}

// Parameters, units and ranges as the reference has them.
static void rssm_values(nn_params* p) {
    fill(p->value, p->list.count, 2, 0.6);
    double* tail = p->value + p->list.count - 3 * O - 3;
    for (int j = 0; j < O; j++) {
        tail[j] = 0.5 + 0.1 * j;
        tail[O + j] = -1;
        tail[2 * O + j] = 1;
    }
    tail[3 * O] = -0.5;
    tail[3 * O + 1] = 0.6;
    tail[3 * O + 2] = 1;
}

// Of every tensor: its size, and its product with numbers that both sides know.
static void check_digest(const char* what, const hwm_param_list* list, const double* x,
                         const json_t* want) {
    for (int i = 0; i < list->n; i++) {
        double square = 0, product = 0;
        const size_t n = hwm_tensor_count(&list->entry[i].spec);
        for (size_t k = 0; k < n; k++) {
            const double one = x[list->entry[i].offset + k];
            square += one * one;
            product += one * v(13, k);
        }
        const json_t* pair = json_array_get(want, (size_t)i);
        const double norm = json_number_value(json_array_get(pair, 0)),
                     other = json_number_value(json_array_get(pair, 1));
        // sums of tens of thousands of numbers that went through 4 steps of a recurrent cell
        if (fabs(sqrt(square) - norm) > 1e-6 * norm || fabs(product - other) > 1e-6 * norm)
            fail_msg("%s of %s: size %.12g, product %.12g, want %.12g and %.12g", what,
                     list->entry[i].spec.name, sqrt(square), product, norm, other);
    }
}

static void test_rssm(void** state) {
    (void)state;
    enum { SEQUENCES = 3, STEPS = 4 };
    json_error_t bad;
    json_t* all = json_load_file(GOLDEN, 0, &bad);
    if (!all)
        fail_msg("%s: %s", GOLDEN, bad.text);
    const json_t* want = json_object_get(json_array_get(all, 2), "model");
    hwm_model_config config;
    hwm_config_section section = {.table = &hwm_model_table, .target = &config};
    hwm_config_defaults(&section, 1);
    config.kind = HWM_MODEL_RSSM;
    config.sequences = SEQUENCES;
    config.sequence_steps = STEPS;
    config.clip_norm = 1;
    config.cache_bytes = 0;
    const hwm_model_dims dims = {.obs = O, .action = A, .rollouts = 4, .horizon = 1};
    hwm_model* model;
    hwm_error err = {0};
    assert_int_equal(hwm_model_create(&model, &config, &dims, 0, &err), HWM_OK);
    nn_params* p = hwm_model_params(model);
    same_entries(&p->list, json_object_get(want, "entries"));
    rssm_values(p);
    hwm_sequences s;
    assert_int_equal(hwm_sequences_alloc(&s, SEQUENCES, STEPS, 0, O, A), HWM_OK);
    fill(s.obs, SEQUENCES * STEPS * O, 9, 0.6);
    fill(s.action, SEQUENCES * STEPS * A, 10, 1);
    fill(s.reward, SEQUENCES * STEPS, 11, 0.5);
    for (int i = 0; i < SEQUENCES * STEPS; i++)
        s.valid[i] = i != 2 * STEPS + 3;
    s.first[STEPS] = s.first[2] = s.terminal[STEPS + 3] = 1;

    hwm_rng rng;
    hwm_rng_init(&rng, 0, HWM_PURPOSE_TEST, 0, 0, 0);
    hwm_model_losses losses;
    hwm_model_gradient(model, &s, &rng, &losses);
    close_to("rssm total", losses.total, number(want, "total"));
    close_to("rssm change", losses.obs, number(want, "obs"));
    close_to("rssm reward", losses.reward, number(want, "reward"));
    close_to("rssm continue", losses.cont, number(want, "continue"));
    close_to("rssm kl", losses.kl, number(want, "kl"));
    check_digest("gradient", &p->list, p->grad, json_object_get(want, "gradient"));
    double* change = calloc(p->list.count, sizeof *change);
    memcpy(change, p->value, p->list.count * sizeof *change);
    for (size_t t = 0; t < 3; t++) {
        assert_int_equal(hwm_model_update(model, &s, &rng, &losses, &err), HWM_OK);
        close_to("rssm norm", losses.gradient_norm,
                 json_number_value(json_array_get(json_object_get(want, "norms"), t)));
    }
    for (size_t i = 0; i < p->list.count; i++)
        change[i] = p->value[i] - change[i];
    check_digest("change", &p->list, change, json_object_get(want, "change"));
    free(change);
    hwm_sequences_free(&s);
    hwm_model_destroy(&model);
    json_decref(all);
}

static void test_ensemble_and_abcd(void** state) {
    (void)state;
    check_case(0, "controller: {hidden: [5]}\nrule: {w_max: 0.5}\n"
                  "model: {members: 2, units: 8, batch: 8, clip_norm: 1}\n");
}

static void test_context_and_mod3(void** state) {
    (void)state;
    check_case(1, "controller: {hidden: [5], inputs: [o, d], plastic: [last]}\n"
                  "rule: {kind: mod3, terms: ABCD, w_max: 0.5}\n"
                  "model: {kind: context, members: 2, units: 8, batch: 8, clip_norm: 1, "
                  "context_units: 6, context_samples: 3}\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rssm),
        cmocka_unit_test(test_ensemble_and_abcd),
        cmocka_unit_test(test_context_and_mod3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
