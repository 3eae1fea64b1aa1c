// Recurrent agents: what a worker does with the published parameters is what the learner's model
// says, rows reach the update in the right order, checkpoints bring everything back.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.h"
#include "experiment/evaluate.h"
#include "latent.h"
#include "model/actor.h"
#include "nn/dist.h"
#include "plastic/controller_config.h"
#include "plastic/delta.h"
#include "plastic/materialise.h"

#define MODEL                                                                                      \
    "model: {kind: rssm, preset: nano, sequences: 2, sequence_steps: 4}\n"                         \
    "imagination: {%s batch: 4, horizon: 3}\nagent: {%s}\n"

typedef struct fixture {
    hwm_experiment* experiment;
    hwm_env_spec spec;
    hwm_agent* agent;
} fixture;

static void open_fixture_with(fixture* f, const char* hidden, const char* imagination,
                              const char* agent) {
    char yaml[512];
    hwm_error err = {0};
    snprintf(yaml, sizeof yaml,
             "env: {name: cartpole}\ncontroller: {hidden: %s}\nrule: {bound: clip}\n" MODEL, hidden,
             imagination, agent);
    if (hwm_experiment_load(&f->experiment, NULL, yaml, NULL, 0, &err) != HWM_OK ||
        hwm_env_describe(&f->experiment->env, &f->spec, &err) != HWM_OK ||
        hwm_agent_create(&f->agent, f->experiment, &f->spec, &err) != HWM_OK)
        fail_msg("%s", err.text);
    assert_non_null(f->agent->latent);
}

static void open_fixture(fixture* f, const char* imagination, const char* agent) {
    open_fixture_with(f, "[]", imagination, agent);
}

static void close_fixture(fixture* f) {
    hwm_agent_destroy(&f->agent);
    hwm_experiment_destroy(&f->experiment);
}

// A batch as the sampler sends it, of the signature's columns: row r holds numbers that name it.
static void fill_batch(const hwm_latent* l, hwm_batch* b, uint32_t row[3], uint32_t prefix[2]) {
    const int N = hwm_latent_sequences(l), T = hwm_latent_length(l);
    memset(b, 0, sizeof *b);
    b->batch = N;
    b->length = T;
    b->row = row;
    b->prefix = prefix;
    for (int i = 0; i <= N; i++)
        row[i] = (uint32_t)(i * T);
    prefix[0] = prefix[1] = 0;
    for (int c = 0; c < l->signature.n_columns; c++) {
        const size_t n = hwm_tensor_count(&l->signature.column[c]), rows = (size_t)(N * T);
        b->column[c] = calloc(rows * n + 1, sizeof(float));
        float* x = b->column[c];
        for (size_t k = 0; c != HWM_COLUMN_FLAGS && k < rows * n; k++)
            x[k] = 0.9f * sinf((float)k + 10.0f * (float)c);
    }
    uint8_t* flags = b->column[HWM_COLUMN_FLAGS];
    if (!flags) {
        fail_msg("no memory for a batch");
        return;
    }
    flags[0] = HWM_FLAG_FIRST;
    flags[T + 1] = HWM_FLAG_LAST | HWM_FLAG_TERMINAL;
    flags[T + 2] = HWM_FLAG_FIRST;
    b->stream = calloc((size_t)N, sizeof *b->stream);
    b->step = calloc((size_t)N, sizeof *b->step);
}

static void free_batch(const hwm_latent* l, hwm_batch* b) {
    for (int c = 0; c < l->signature.n_columns; c++)
        free(b->column[c]);
    free(b->stream);
    free(b->step);
}

static void test_rows_in_the_order_of_time(void** state) {
    (void)state;
    fixture f;
    open_fixture(&f, "mode: latent,", "parametrisation: direct");
    hwm_latent* l = f.agent->latent;
    hwm_batch batch;
    uint32_t row[3], prefix[2];
    hwm_error err = {0};
    fill_batch(l, &batch, row, prefix);
    assert_int_equal(hwm_latent_gather(l, &batch, &err), HWM_OK);
    const hwm_rssm_batch* b = &l->batch;
    const hwm_dreamer_config* c = hwm_acting_dreamer(l->acting);
    // 4 inputs, 1 output, 1 action, 4 weights; 4 numbers of u
    assert_int_equal(c->obs, 10);
    assert_int_equal(c->action, 4);
    const float *u = batch.column[hwm_signature_column(&l->signature, "u")],
                *view = batch.column[hwm_signature_column(&l->signature, "view")],
                *act = batch.column[HWM_COLUMN_ACT], *action = batch.column[HWM_COLUMN_ACTION],
                *reward = batch.column[HWM_COLUMN_REWARD];
    for (int n = 0; n < 2; n++) {
        for (int t = 0; t < 4; t++) {
            const int at = t * 2 + n, from = n * 4 + t;
            assert_true(b->obs[at * 10 + 2] == act[from * 5 + 2]);
            assert_true(b->obs[at * 10 + 4] == act[from * 5 + 4]);
            assert_true(b->obs[at * 10 + 5] == action[from]);
            assert_true(b->obs[at * 10 + 7] == view[from * 4 + 1]);
            assert_true(b->reward[at] == reward[from]);
            // the action that led here
            assert_true(b->action[at * 4 + 3] == (t ? u[(from - 1) * 4 + 3] : 0));
        }
    }
    const hwm_real gamma = (hwm_real)f.experiment->train.gamma;
    assert_true(b->keep[0] == 0 && b->keep[1] == 0 && b->keep[2] == 1 && b->keep[2 * 2 + 1] == 0);
    assert_true(b->cont[1 * 2 + 1] == 0 && b->cont[0] == gamma && l->last[1 * 2 + 1] == 1);
    // what is not a number, and a batch of another shape, are refused
    ((float*)batch.column[HWM_COLUMN_REWARD])[5] = NAN;
    assert_int_equal(hwm_latent_gather(l, &batch, &err), HWM_ENUMERIC);
    batch.length = 3;
    assert_int_equal(hwm_latent_gather(l, &batch, &err), HWM_EPROTO);
    free_batch(l, &batch);
    close_fixture(&f);
}

// A sequence that goes on where a trained one ended begins with what was known there; one that
// begins an episode, or of another stream, with nothing.
static void test_sequences_begin_with_what_was_known(void** state) {
    (void)state;
    fixture f;
    open_fixture(&f, "", "kind: dreamer");
    hwm_latent* l = f.agent->latent;
    const hwm_rssm_batch* b = &l->batch;
    const int T = 4, D = hwm_acting_dreamer(l->acting)->sizes.deter;
    hwm_batch batch;
    uint32_t row[3], prefix[2];
    hwm_error err = {0};
    hwm_dreamer_losses losses;
    fill_batch(l, &batch, row, prefix);
    batch.step[0] = 8;
    batch.step[1] = 20;
    batch.stream[1].env = 3;
    assert_int_equal(hwm_latent_gather(l, &batch, &err), HWM_OK);
    assert_int_equal(hwm_latent_update(l, false, &losses, &err), HWM_OK);
    const hwm_real *deter, *stoch;
    hwm_dreamer_posterior(l->dreamer, T - 1, 0, &deter, &stoch);
    const float* action = (const float*)batch.column[HWM_COLUMN_ACTION] + (T - 1);
    // behind sequence 0, and behind row 2 of sequence 1
    ((uint8_t*)batch.column[HWM_COLUMN_FLAGS])[0] = 0;
    batch.step[0] += (uint64_t)T;
    batch.step[1] += 3;
    assert_int_equal(hwm_latent_gather(l, &batch, &err), HWM_OK);
    assert_true(b->keep[0] == 1 && b->keep[1] == 1);
    assert_true((float)b->action[0] == *action);
    const int Z = hwm_acting_dreamer(l->acting)->sizes.variables *
                  hwm_acting_dreamer(l->acting)->sizes.classes;
    for (int j = 0; j < D; j++)
        assert_true((float)b->deter[j] == (float)deter[j]);
    assert_memory_equal(b->stoch, stoch, (size_t)Z * sizeof *stoch);
    hwm_dreamer_posterior(l->dreamer, 2, 1, &deter, &stoch);
    for (int j = 0; j < D; j++)
        assert_true((float)b->deter[D + j] == (float)deter[j]);
    // and an update uses it: sequence 0 without it becomes another, sequence 1 stays
    hwm_real seen[2][2];  // [with, without][sequence]
    for (int k = 0; k < 2; k++) {
        hwm_rng rng;
        hwm_rng_init(&rng, 1, HWM_PURPOSE_TEST, 0, 0, 0);
        if (k == 1)
            l->batch.deter[7] += 1;
        hwm_dreamer_gradient(l->dreamer, b, l->last, &rng, &losses);
        for (int n = 0; n < 2; n++) {
            hwm_dreamer_posterior(l->dreamer, 0, n, &deter, &stoch);
            seen[k][n] = deter[5];
        }
    }
    assert_true(seen[0][0] != seen[1][0] && seen[0][1] == seen[1][1]);
    assert_true(hwm_recall_share(&l->recall) > 0.6);  // 2 of 3: the first batch had one to look up
    ((uint8_t*)batch.column[HWM_COLUMN_FLAGS])[0] = HWM_FLAG_FIRST;
    batch.stream[1].incarnation = 1;
    assert_int_equal(hwm_latent_gather(l, &batch, &err), HWM_OK);
    assert_true(b->keep[0] == 0 && b->keep[1] == 0);
    free_batch(l, &batch);
    close_fixture(&f);
}

// The actor, step by step from exported parameters, against the learner's own unrolling.
static void test_acts_as_the_model_says(void** state) {
    (void)state;
    fixture f;
    open_fixture(&f, "", "kind: dreamer");
    hwm_latent* l = f.agent->latent;
    const hwm_dreamer_config* c = hwm_acting_dreamer(l->acting);
    hwm_batch batch;
    uint32_t row[3], prefix[2];
    hwm_error err = {0};
    hwm_dreamer_losses losses;
    fill_batch(l, &batch, row, prefix);
    memset(batch.column[HWM_COLUMN_FLAGS], 0, 8);
    assert_int_equal(hwm_latent_gather(l, &batch, &err), HWM_OK);
    assert_int_equal(hwm_latent_update(l, false, &losses, &err), HWM_OK);
    hwm_latent_export(l, f.agent->phi);
    float* phi = calloc(f.agent->phi->list.count, sizeof *phi);
    nn_params_to_float(f.agent->phi, phi);
    hwm_actor* actor = NULL;
    assert_int_equal(hwm_actor_create(&actor, c, 2, &err), HWM_OK);
    hwm_actor_load(actor, &f.agent->phi->list, phi);
    hwm_actor_begin(actor, 0);
    hwm_actor_begin(actor, 1);

    // the actor decides itself: its actions become those of the batch
    enum { T = 4, N = 2 };
    const int S = c->sizes.variables;
    float u[T][N], draws[64], x[N * 4];
    for (int t = 0; t < T; t++) {
        for (int k = 0; k < N * S; k++)
            draws[k] = (float)l->batch.draws[t * N * S + k];
        for (int k = 0; k < N * 4; k++)
            x[k] = (float)l->batch.obs[t * N * 4 + k];
        hwm_actor_step(actor, x, draws, NULL, u[t]);
        for (int n = 0; n < N && t + 1 < T; n++)
            l->batch.action[(t + 1) * N + n] = u[t][n];
    }
    nn_tape* tape;
    assert_int_equal(nn_tape_create(&tape, (size_t)1 << 30), HWM_OK);
    nn_tape_record(tape, false);
    hwm_rssm_vars v;
    hwm_rssm_bind(hwm_dreamer_rssm(l->dreamer), tape, hwm_dreamer_model(l->dreamer), true, &v);
    const hwm_rssm_unrolled r = hwm_rssm_unroll(&v, tape, &l->batch);
    nn_var feat = hwm_rssm_features(tape, (hwm_rssm_state){r.deter, r.stoch});
    hwm_head policy;
    hwm_head_vars pv;
    hwm_param_list* list = malloc(sizeof *list);
    hwm_param_list_init(list);
    hwm_head_declare(&policy, list, "policy", feat->cols, 3, c->sizes.units, 1, 0.01);
    hwm_head_bind(&policy, tape, hwm_dreamer_behaviour(l->dreamer), true, &pv);
    nn_var logits = hwm_head_forward(&pv, tape, feat);
    double spread = 0;
    for (int i = 0; i < T * N; i++) {
        assert_true(u[i / N][i % N] == (logits->x[i] >= 0 ? 1.0f : -1.0f));
        spread = fmax(spread, fabs((double)logits->x[i]));
    }
    assert_true(spread > 1e-6);
    free(list);
    free(phi);
    nn_tape_destroy(&tape);
    hwm_actor_destroy(&actor);
    free_batch(l, &batch);
    close_fixture(&f);
}

// Every parametrisation acts, and its agent learns: the weights of a controller with a hidden layer
// change in every step as its numbers say, and after one update of such rows it chooses otherwise.
static void acts_and_learns(const char* kind, int K, int V) {
    fixture f;
    char agent[64];
    snprintf(agent, sizeof agent, "parametrisation: %s, basis: 5, lr_warmup_updates: 1", kind);
    open_fixture_with(&f, "[3]", "mode: latent,", agent);
    hwm_latent* l = f.agent->latent;
    assert_int_equal(hwm_acting_dreamer(l->acting)->action, K);
    assert_int_equal(hwm_acting_dreamer(l->acting)->view, V);

    enum { E = 2, STEPS = 4 };
    hwm_error err = {0};
    hwm_acting* acting = NULL;
    hwm_rollout* r = NULL;
    hwm_rollout_config config = hwm_rollout_default_config();
    assert_int_equal(hwm_acting_create(&acting, f.experiment, E, &err), HWM_OK);
    const hwm_controller* c = hwm_acting_controller(acting);
    assert_int_equal(hwm_rollout_create(&r, &f.experiment->env, c, &config, 3, 0, E, &err), HWM_OK);
    hwm_acting_attach(acting, r);
    const size_t n = f.agent->phi->list.count;
    float* phi = calloc(n, sizeof *phi);
    hwm_real* real = calloc(n, sizeof *real);
    hwm_real* coef = calloc((size_t)hwm_controller_coef_count(c) + 1, sizeof *coef);
    const hwm_delta_config chosen = {.kind = f.experiment->agent.parametrisation,
                                     .basis = 5,
                                     .rank = 1,
                                     .eta = f.experiment->rule.eta,
                                     .w_max = f.experiment->rule.w_max,
                                     .bound = HWM_BOUND_CLIP,
                                     .seed = (uint64_t)f.experiment->run.seed};
    hwm_delta* delta = NULL;
    assert_int_equal(hwm_delta_create(&delta, c, &chosen, &err), HWM_OK);
    float u[2][STEPS * E * 64], before[64], after[64], want[64], act[64];
    assert_true(hwm_controller_activations(c) <= 64);
    assert_true(K <= 64 && hwm_controller_state_size(c) <= 64);
    for (int round = 0; round < 2; round++) {
        nn_params_to_float(f.agent->phi, phi);
        for (size_t k = 0; k < n; k++)
            real[k] = (hwm_real)phi[k];
        hwm_controller_prepare(c, real, coef);
        hwm_acting_load(acting, phi);
        for (int i = 0; i < E; i++)
            hwm_rollout_begin(r, coef, i, 0);
        for (int t = 0; t < STEPS; t++) {
            hwm_rollout_think(r, coef, NULL);
            memcpy(u[round] + t * E * K, r->agent->u, (size_t)(E * K) * sizeof(float));
            hwm_lanes_get(r->state, 1, hwm_controller_state_size(c), before);
            hwm_lanes_get(r->act, 1, hwm_controller_activations(c), act);
            memcpy(want, before, sizeof want);
            hwm_delta_apply(delta, act, u[round] + (t * E + 1) * K, want);
            hwm_rollout_step(r, coef);
            hwm_lanes_get(r->state, 1, hwm_controller_state_size(c), after);
            double changed = 0;
            for (int layer = 0; layer < hwm_controller_layers(c); layer++) {
                const hwm_layer_view y = hwm_controller_layer(c, layer);
                assert_memory_equal(after + y.w, want + y.w, (size_t)(y.P * y.Q) * sizeof *want);
            }
            for (int k = 0; k < hwm_controller_state_size(c); k++)
                changed = fmax(changed, fabs((double)after[k] - (double)before[k]));
            assert_true(changed > 0 && changed < 10 * f.experiment->rule.eta);
        }
        if (round == 1)
            break;
        hwm_batch batch;
        uint32_t row[3], prefix[2];
        hwm_dreamer_losses losses;
        fill_batch(l, &batch, row, prefix);
        assert_int_equal(hwm_latent_gather(l, &batch, &err), HWM_OK);
        if (hwm_latent_update(l, false, &losses, &err) != HWM_OK)
            fail_msg("%s: %s", kind, err.text);
        assert_true(losses.model_norm > 0 && losses.behaviour_norm > 0 && losses.view > 0);
        hwm_latent_export(l, f.agent->phi);
        free_batch(l, &batch);
    }
    for (int k = 0; k < K; k++) {  // each of its numbers
        double moved = 0;
        for (int t = 0; t < STEPS * E; t++)
            moved = fmax(moved, fabs((double)u[1][t * K + k] - (double)u[0][t * K + k]));
        if (!(moved > 1e-7))
            fail_msg("%s: number %d is not learned", kind, k);
    }
    free(phi);
    free(real);
    free(coef);
    hwm_delta_destroy(&delta);
    hwm_rollout_destroy(&r);
    hwm_acting_destroy(&acting);
    close_fixture(&f);
}

// 4-3-1: 15 synapses, 4 neurons, 2 layers, 7 + 4 sides
static void test_every_parametrisation_acts_and_learns(void** state) {
    (void)state;
    acts_and_learns("direct", 15, 15);
    acts_and_learns("basis", 5, 5);
    acts_and_learns("layer", 8, 15);
    acts_and_learns("neuron", 4, 15);
    acts_and_learns("lowrank", 11, 15);
}

// controller.weights_mean: W_0 around fixed hidden layers, the same for whoever has the seed; 0
// without.
static void test_weights_around_a_fixed_network(void** state) {
    (void)state;
    fixture f, g;
    open_fixture_with(&f, "[3], weights_mean: true", "mode: latent,", "parametrisation: basis");
    open_fixture_with(&g, "[3], weights_mean: true", "mode: latent,", "parametrisation: basis");
    const hwm_param_list* list = &f.agent->phi->list;
    const hwm_real *a = f.agent->phi->value, *b = g.agent->phi->value;
    for (int l = 1; l <= 2; l++) {
        char name[32];
        snprintf(name, sizeof name, "layer%d.W0", l);
        const int k = hwm_param_list_find(list, name);
        assert_true(k >= 0);
        double squares = 0;
        const size_t n = hwm_tensor_count(&list->entry[k].spec), at = list->entry[k].offset;
        for (size_t j = 0; j < n; j++)
            squares += (double)a[at + j] * (double)a[at + j] / (double)n;
        assert_true(l == 1 ? squares > 0.01 : squares == 0);  // it prefers no action
        assert_memory_equal(a + at, b + at, n * sizeof *a);
    }
    close_fixture(&f);
    close_fixture(&g);
}

// Evaluation without a learner: repeats, and zeroed updates leave the weights as they were drawn.
static void test_evaluation_of_an_agent(void** state) {
    (void)state;
    fixture f;
    open_fixture(&f, "mode: latent,", "parametrisation: layer");
    float* phi = calloc(f.agent->phi->list.count, sizeof *phi);
    nn_params_to_float(f.agent->phi, phi);
    hwm_evaluate_request q = hwm_evaluate_default_request();
    hwm_evaluate_result a, b, zero, frozen, shuffled;
    hwm_error err = {0};
    q.episodes = 20;
    q.seed = 5;
    assert_int_equal(hwm_evaluate(f.experiment, phi, &q, &a, &err), HWM_OK);
    assert_int_equal(hwm_evaluate(f.experiment, phi, &q, &b, &err), HWM_OK);
    assert_memory_equal(&a, &b, sizeof a);
    q.zero_rule = true;
    assert_int_equal(hwm_evaluate(f.experiment, phi, &q, &zero, &err), HWM_OK);
    q.zero_rule = false;
    q.freeze_at = 0;
    assert_int_equal(hwm_evaluate(f.experiment, phi, &q, &frozen, &err), HWM_OK);
    assert_true(zero.all.mean == frozen.all.mean && zero.all.mean != a.all.mean);
    q.freeze_at = -1;
    q.shuffle_rule = true;
    assert_int_equal(hwm_evaluate(f.experiment, phi, &q, &shuffled, &err), HWM_OK);
    assert_true(shuffled.all.mean != zero.all.mean);
    free(phi);
    close_fixture(&f);
}

static void test_checkpoint_brings_all_back(void** state) {
    (void)state;
    fixture f, g;
    open_fixture(&f, "mode: latent,", "parametrisation: neuron");
    open_fixture(&g, "mode: latent,", "parametrisation: neuron");
    hwm_latent* l = f.agent->latent;
    hwm_batch batch;
    uint32_t row[3], prefix[2];
    hwm_error err = {0};
    hwm_dreamer_losses one, other;
    fill_batch(l, &batch, row, prefix);
    assert_int_equal(hwm_latent_gather(l, &batch, &err), HWM_OK);
    assert_int_equal(hwm_latent_gather(g.agent->latent, &batch, &err), HWM_OK);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(hwm_latent_update(l, k == 0, &one, &err), HWM_OK);
        f.agent->model_updates++;
    }
    char dir[] = "/tmp/hwm-latent-XXXXXX";
    assert_non_null(mkdtemp(dir));
    hwm_progress_state s = {.env_steps = 12, .best_mean = -INFINITY}, t = {0};
    if (hwm_checkpoint_save(dir, "latest", f.agent, &s, &err) != HWM_OK ||
        hwm_checkpoint_resume(dir, g.agent, &t, &err) != HWM_OK)
        fail_msg("%s", err.text);
    assert_int_equal(t.env_steps, 12);
    assert_int_equal(hwm_latent_update(l, false, &one, &err), HWM_OK);
    assert_int_equal(hwm_latent_update(g.agent->latent, false, &other, &err), HWM_OK);
    assert_memory_equal(&one, &other, sizeof one);
    const nn_params *p = hwm_dreamer_model(l->dreamer),
                    *q = hwm_dreamer_model(g.agent->latent->dreamer);
    assert_memory_equal(p->value, q->value, p->list.count * sizeof *p->value);
    char remove[64];
    snprintf(remove, sizeof remove, "rm -rf %s", dir);
    assert_int_equal(system(remove), 0);
    free_batch(l, &batch);
    close_fixture(&f);
    close_fixture(&g);
}

static void test_misfits_are_refused(void** state) {
    (void)state;
    static const struct {
        const char *yaml, *said;
    } bad[] = {
        {"agent: {kind: dreamer}\nmodel: {sequences: 3}\nimagination: {batch: 128}\n",
         "imagination.batch = 128 must be a multiple of model.sequences = 3"},
        {"agent: {kind: dreamer}\nworker: {burn_in_steps: 4}\n", "worker.burn_in_steps = 4"},
        {"imagination: {mode: latent}\nworker: {apply: episode}\n", "worker.apply = episode"},
        {"model: {precision: bfloat16}\n", "model.precision = bfloat16 is for recurrent agents"},
        {"agent: {kind: dreamer}\nmodel: {precision: half}\n", "one of float32, bfloat16"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hwm_experiment* e = NULL;
        hwm_error err = {0};
        assert_int_equal(hwm_experiment_load(&e, NULL, bad[i].yaml, NULL, 0, &err), HWM_EINVAL);
        if (!strstr(err.text, bad[i].said))
            fail_msg("%s", err.text);
    }
    hwm_experiment* e = NULL;
    hwm_acting* a = NULL;
    hwm_error err = {0};
    const char* acrobot = "env: {name: acrobot}\nagent: {kind: dreamer}\n";
    assert_int_equal(hwm_experiment_load(&e, NULL, acrobot, NULL, 0, &err), HWM_OK);
    assert_int_equal(hwm_acting_create(&a, e, 1, &err), HWM_EINVAL);
    assert_non_null(strstr(err.text, "acrobot has 3"));
    hwm_experiment_destroy(&e);
}

// The precision of the file is that of the agent.
static void test_precision_reaches_the_agent(void** state) {
    (void)state;
    static const char* const yaml[] = {
        "agent: {kind: dreamer}\n", "agent: {kind: dreamer}\nmodel: {precision: bfloat16}\n",
        "imagination: {mode: latent}\nmodel: {precision: bfloat16}\n"};
    for (int i = 0; i < 3; i++) {
        hwm_experiment* e = NULL;
        hwm_acting* a = NULL;
        hwm_error err = {0};
        assert_int_equal(hwm_experiment_load(&e, NULL, yaml[i], NULL, 0, &err), HWM_OK);
        assert_int_equal(hwm_acting_create(&a, e, 1, &err), HWM_OK);
        assert_int_equal(hwm_acting_dreamer(a)->precision, i > 0);
        hwm_acting_destroy(&a);
        hwm_experiment_destroy(&e);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_in_the_order_of_time),
        cmocka_unit_test(test_sequences_begin_with_what_was_known),
        cmocka_unit_test(test_acts_as_the_model_says),
        cmocka_unit_test(test_every_parametrisation_acts_and_learns),
        cmocka_unit_test(test_weights_around_a_fixed_network),
        cmocka_unit_test(test_evaluation_of_an_agent),
        cmocka_unit_test(test_checkpoint_brings_all_back),
        cmocka_unit_test(test_misfits_are_refused),
        cmocka_unit_test(test_precision_reaches_the_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
