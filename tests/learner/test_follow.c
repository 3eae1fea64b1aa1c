// A modulator that reads the world model's latent: what a worker follows with the published
// parameters is what the learner's model says of the same rows.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "batch.h"
#include "experiment/acting.h"
#include "model/observer.h"

enum { E = 3, T = 150, O = 4, S = 8 };  // more rows than one binding of the weights serves

static const char yaml[] = "env: {name: cartpole, variants: [flip p=0.5]}\n"
                           "controller: {hidden: [6]}\n"
                           "rule: {kind: mod3, modulator: latent, modulator_std: 2}\n"
                           "model: {kind: rssm, preset: nano, sequences: 2, sequence_steps: 4}\n"
                           "imagination: {batch: 4, horizon: 3}\n";

typedef struct fixture {
    hwm_experiment* experiment;
    hwm_env_spec spec;
    hwm_agent* agent;
    hwm_acting* acting;
    hwm_rollout* rollout;
    float* phi;
    hwm_real *real, *coef;
    const hwm_controller* c;  // as workers have it
} fixture;

static void must(hwm_status s, const hwm_error* err) {
    if (s != HWM_OK)
        fail_msg("%s", err->text);
}

static void open_fixture(fixture* f) {
    hwm_error err = {0};
    memset(f, 0, sizeof *f);
    must(hwm_experiment_load(&f->experiment, NULL, yaml, NULL, 0, &err), &err);
    must(hwm_env_describe(&f->experiment->env, &f->spec, &err), &err);
    must(hwm_agent_create(&f->agent, f->experiment, &f->spec, &err), &err);
    must(hwm_acting_create(&f->acting, f->experiment, E, &err), &err);
    f->c = hwm_acting_controller(f->acting);
    const hwm_param_list* list = hwm_acting_params(f->acting);
    assert_int_equal(list->count, f->agent->phi->list.count);
    assert_true(list->count > hwm_controller_params(f->c)->count);
    // units that a refresh has set, and an update behind them
    nn_params* model = hwm_model_params(f->agent->model);
    const int unit = hwm_param_list_find(&model->list, "obs_unit");
    for (int j = 0; j < O; j++)
        model->value[model->list.entry[unit].offset + (size_t)j] =
            (hwm_real)0.2 * (hwm_real)(j + 1);
    hwm_sequences batch;
    assert_int_equal(hwm_sequences_alloc(&batch, 2, 4, 0, O, 1), HWM_OK);
    for (int k = 0; k < 2 * 4 * O; k++)
        batch.obs[k] = (hwm_real)sin(k);
    for (int k = 0; k < 2 * 4; k++) {
        batch.action[k] = k % 2 ? 1 : -1;
        batch.valid[k] = 1;
    }
    hwm_agent_report report = {0};
    must(hwm_agent_update_model(f->agent, &batch, &report, &err), &err);
    hwm_sequences_free(&batch);

    f->phi = calloc(list->count, sizeof *f->phi);
    f->real = calloc(list->count, sizeof *f->real);
    f->coef = calloc((size_t)hwm_controller_coef_count(f->c) + 1, sizeof *f->coef);
    assert_non_null(f->phi);
    assert_non_null(f->real);
    assert_non_null(f->coef);
    nn_params_to_float(f->agent->phi, f->phi);
    for (size_t k = 0; k < list->count; k++)
        f->real[k] = (hwm_real)f->phi[k];
    hwm_controller_prepare(f->c, f->real, f->coef);
    hwm_rollout_config config = hwm_rollout_default_config();
    config.explore = HWM_EXPLORE_NOISE;
    must(hwm_rollout_create(&f->rollout, &f->experiment->env, f->c, &config, 9, 5, E, &err), &err);
    hwm_acting_load(f->acting, f->phi);
    hwm_acting_attach(f->acting, f->rollout);
    for (int i = 0; i < E; i++)
        hwm_rollout_begin(f->rollout, f->coef, i, 0);
}

static void close_fixture(fixture* f) {
    hwm_rollout_destroy(&f->rollout);
    hwm_acting_destroy(&f->acting);
    hwm_agent_destroy(&f->agent);
    hwm_experiment_destroy(&f->experiment);
    free(f->phi);
    free(f->real);
    free(f->coef);
}

// Rows (T,E,.) as they happened, in the model's terms; M as the worker had it.
typedef struct rows {
    hwm_real obs[T * E * O], action[T * E], keep[T * E], draws[T * E * S], m[T * E];
} rows;

static void roll(fixture* f, rows* r) {
    const nn_params* model = hwm_model_params(f->agent->model);
    const int unit = hwm_param_list_find(&model->list, "obs_unit");
    const hwm_real* u = model->value + model->list.entry[unit].offset;
    int episodes = 0;
    for (int t = 0; t < T; t++) {
        hwm_rollout* o = f->rollout;
        hwm_rollout_think(o, f->coef, NULL);
        for (int i = 0; i < E; i++) {
            const int at = t * E + i;
            float act[64], draws[S];
            hwm_lanes_get(o->act, i, hwm_controller_activations(f->c), act);
            r->m[at] = (hwm_real)act[hwm_controller_inputs(f->c)];  // behind the inputs
            r->keep[at] = !(o->flags[i] & HWM_FLAG_FIRST);
            episodes += o->flags[i] & HWM_FLAG_FIRST ? 1 : 0;
            r->action[at] = (hwm_real)o->old_action[i];
            for (int j = 0; j < O; j++)
                r->obs[at * O + j] = (hwm_real)(o->obs[i * O + j] / o->spec->obs_scale[j]) / u[j];
            hwm_rng rng;
            hwm_rng_init(&rng, 9, HWM_PURPOSE_LATENT, 5 + (uint32_t)i, o->episode[i], o->step[i]);
            hwm_rng_fill_uniform(&rng, draws, S, 0, 1);
            for (int k = 0; k < S; k++)
                r->draws[at * S + k] = (hwm_real)draws[k];
        }
        hwm_rollout_step(o, f->coef);
    }
    assert_true(episodes > E + 3);
}

static void test_workers_follow_the_model(void** state) {
    (void)state;
    fixture f;
    rows* r = calloc(1, sizeof *r);
    assert_non_null(r);
    open_fixture(&f);
    roll(&f, r);

    // the same rows through the learner's own unrolling
    const hwm_observer_config config = hwm_observer_of_model(&f.experiment->model, O, 1);
    hwm_rssm rssm;
    hwm_param_list* list = malloc(sizeof *list);
    nn_params* params;
    nn_tape* tape;
    assert_non_null(list);
    hwm_param_list_init(list);
    hwm_rssm_declare(&rssm, list, &config.sizes, &config.options, O, 1);
    assert_int_equal(nn_params_create(&params, list), HWM_OK);
    nn_params_load(params, &f.agent->phi->list, f.phi);
    assert_int_equal(nn_tape_create(&tape, (size_t)1 << 32), HWM_OK);
    nn_tape_record(tape, false);
    hwm_rssm_vars v;
    hwm_rssm_bind(&rssm, tape, params, true, &v);
    const hwm_rssm_batch batch = {
        .N = E, .T = T, .obs = r->obs, .action = r->action, .keep = r->keep, .draws = r->draws};
    const hwm_rssm_unrolled u = hwm_rssm_unroll(&v, tape, &batch);
    nn_var z = hwm_rssm_features(tape, (hwm_rssm_state){u.deter, u.stoch});
    const hwm_real* m = hwm_controller_latent_weights(f.c, f.coef);
    assert_int_equal(z->cols, hwm_controller_latent(f.c));
    double low = 1, high = -1;
    for (int i = 0; i < T * E; i++) {
        double sum = 0;
        for (int k = 0; k < z->cols; k++)
            sum += (double)m[k] * (double)z->x[(size_t)i * (size_t)z->cols + (size_t)k];
        if (!(fabs(tanh(sum) - (double)r->m[i]) < 1e-5))
            fail_msg("row %d, environment %d: M is %.7g, the model says %.7g", i / E, i % E,
                     (double)r->m[i], tanh(sum));
        low = fmin(low, (double)r->m[i]);
        high = fmax(high, (double)r->m[i]);
    }
    assert_true(high - low > 0.05);
    free(list);
    nn_params_destroy(&params);
    nn_tape_destroy(&tape);
    free(r);
    close_fixture(&f);
}

// Where nobody could follow a latent, the experiment is refused before anything starts.
static void test_misfits_are_refused(void** state) {
    (void)state;
    static const char* const wrong[] = {"model.kind=ensemble", "agent.kind=es", "agent.kind=random",
                                        "imagination.mode=latent"};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        hwm_experiment* e;
        hwm_acting* a = NULL;
        hwm_error err = {0};
        must(hwm_experiment_load(&e, NULL, yaml, &wrong[k], 1, &err), &err);
        assert_int_equal(hwm_acting_create(&a, e, 1, &err), HWM_EINVAL);
        assert_non_null(strstr(err.text, "rule.modulator is latent"));
        assert_null(a);
        hwm_experiment_destroy(&e);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_follow_the_model),
        cmocka_unit_test(test_misfits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
