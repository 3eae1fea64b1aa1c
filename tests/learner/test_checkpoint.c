// Checkpoints: what is loaded goes on exactly like what was saved, and a corrupt newest falls back.
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
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint.h"
#include "local.h"
#include "ranges.h"

static const char* const text = "controller: {hidden: [4]}\n"
                                "model: {units: 8, batch: 8, members: 2, refresh_updates: 4}\n"
                                "imagination: {batch: 8, horizon: 4, fraction_continued: 0.5}\n"
                                "train: {critic_units: 8, prefill_steps: 100}\n"
                                "worker: {environments: 4}\n";

typedef struct run {
    hwm_experiment* experiment;
    hwm_agent* agent;
    local* replay;
} run;

static run run_create(const char* set) {
    run r = {0};
    hwm_error err = {0};
    if (hwm_experiment_load(&r.experiment, NULL, text, &set, set ? 1 : 0, &err) != HWM_OK)
        fail_msg("%s", err.text);
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    assert_int_equal(hwm_env_describe(&r.experiment->env, spec, &err), HWM_OK);
    assert_int_equal(hwm_agent_create(&r.agent, r.experiment, spec, &err), HWM_OK);
    free(spec);
    r.replay = local_create(r.agent, 4, 2000, 1);
    while (local_step(r.replay) < 200)
        ;
    return r;
}

static void run_destroy(run* r) {
    local_destroy(&r->replay);
    hwm_agent_destroy(&r->agent);
    hwm_experiment_destroy(&r->experiment);
}

static void update(run* r, int n) {
    hwm_agent_report report = {0};
    hwm_error err = {0};
    for (int i = 0; i < n; i++) {
        assert_int_equal(
            hwm_agent_update_model(r->agent, local_model_batch(r->replay), &report, &err), HWM_OK);
        local_starts(r->replay);
        assert_int_equal(hwm_agent_update_behaviour(r->agent, 0, &report, &err), HWM_OK);
    }
}

static void assert_same(const nn_params* a, const nn_params* b) {
    assert_memory_equal(a->value, b->value, a->list.count * sizeof *a->value);
}

static void assert_same_agents(run* a, run* b) {
    assert_same(a->agent->phi, b->agent->phi);
    assert_same(hwm_model_params(a->agent->model), hwm_model_params(b->agent->model));
    assert_same(a->agent->critic->params, b->agent->critic->params);
    assert_same(a->agent->critic->slow, b->agent->critic->slow);
}

static int set_up(void** state) {
    char* dir = strdup("/tmp/hwm-checkpoint-XXXXXX");
    assert_non_null(mkdtemp(dir));
    *state = dir;
    return 0;
}

static int tear_down(void** state) {
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", (char*)*state);
    const int code = system(command);
    free(*state);
    return code;
}

static void damage(const char* dir, const char* name, long at) {
    char path[512];
    snprintf(path, sizeof path, "%s/checkpoints/%s", dir, name);
    FILE* f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    const int c = fgetc(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    fputc(c ^ 0x40, f);
    fclose(f);
}

static const hwm_progress_state progress = {.version = 9,
                                            .draws = 1234567890123,
                                            .env_steps = 400,
                                            .updates = 6,
                                            .wall_s = 1.5,
                                            .best_mean = 33.25,
                                            .best_env_steps = 300,
                                            .best_updates = 4,
                                            .stop_streak = 1,
                                            .last_step_checkpoint = 200};

// set: of the settings that keep something more
static void resumed_as_the_other(const char* dir, const char* set) {
    hwm_error err = {0};
    run a = run_create(set), b = run_create(set);
    hwm_agent_look(a.agent, local_model_batch(a.replay));
    hwm_agent_look(b.agent, local_model_batch(b.replay));
    hwm_agent_refresh(a.agent, true);
    hwm_agent_refresh(b.agent, true);
    update(&a, 6);
    assert_int_equal(hwm_checkpoint_save(dir, "latest", a.agent, &progress, &err), HWM_OK);
    update(&b, 6);
    assert_same_agents(&a, &b);
    // b's parameters are spoilt, then loaded
    for (size_t i = 0; i < b.agent->phi->list.count; i++)
        b.agent->phi->value[i] = 7;
    nn_params_fill(hwm_model_params(b.agent->model), 0, 3.0);
    const hwm_real far[4] = {99, 99, 99, 99};
    for (int i = 0; b.agent->ranges && i < 1000; i++)
        hwm_ranges_add(b.agent->ranges, far, 99);
    hwm_progress_state loaded = {0};
    assert_int_equal(hwm_checkpoint_resume(dir, b.agent, &loaded, &err), HWM_OK);
    assert_same_agents(&a, &b);
    assert_int_equal(loaded.version, progress.version);
    assert_true(loaded.draws == progress.draws && loaded.env_steps == progress.env_steps &&
                loaded.updates == progress.updates && loaded.best_mean == progress.best_mean &&
                loaded.wall_s == progress.wall_s && loaded.stop_streak == 1 &&
                loaded.last_step_checkpoint == 200 && loaded.best_updates == 4);
    assert_int_equal(b.agent->behaviour_updates, 6);
    // optimisers, pool and streams went along: both go on alike
    update(&a, 5);
    update(&b, 5);
    assert_same_agents(&a, &b);
    run_destroy(&a);
    run_destroy(&b);
}

static void test_a_resumed_agent_goes_on_as_the_other(void** state) {
    resumed_as_the_other(*state, NULL);
}

// Ranges from quantiles of the newest rows: those rows are part of what a run was. A refresh falls
// between the updates before and after the checkpoint.
static void test_quantiles_of_the_newest_rows_go_along(void** state) {
    resumed_as_the_other(*state, "imagination.clamp_quantile=0.1");
}

static void test_corrupt_newest_falls_back(void** state) {
    hwm_error err = {0};
    run a = run_create(NULL);
    hwm_progress_state s = progress, loaded = {0};
    assert_int_equal(hwm_checkpoint_resume(*state, a.agent, &loaded, &err), HWM_ENOTFOUND);
    s.env_steps = 100;
    assert_int_equal(hwm_checkpoint_save(*state, "latest", a.agent, &s, &err), HWM_OK);
    s.env_steps = 200;
    assert_int_equal(hwm_checkpoint_save(*state, "latest", a.agent, &s, &err), HWM_OK);
    assert_int_equal(hwm_checkpoint_resume(*state, a.agent, &loaded, &err), HWM_OK);
    assert_int_equal(loaded.env_steps, 200);
    damage(*state, "latest/model.safetensors", -5);
    assert_int_equal(hwm_checkpoint_resume(*state, a.agent, &loaded, &err), HWM_OK);
    assert_int_equal(loaded.env_steps, 100);
    // and so does one that never became whole
    char path[512];
    snprintf(path, sizeof path, "%s/checkpoints/latest/state.json", (char*)*state);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hwm_checkpoint_resume(*state, a.agent, &loaded, &err), HWM_OK);
    assert_int_equal(loaded.env_steps, 100);
    damage(*state, "previous/controller.safetensors", -3);
    assert_int_equal(hwm_checkpoint_resume(*state, a.agent, &loaded, &err), HWM_ECORRUPT);
    assert_true(strlen(err.text) > 0);
    run_destroy(&a);
}

static void test_other_settings_and_newer_formats_are_refused(void** state) {
    hwm_error err = {0};
    run a = run_create(NULL), b = run_create("controller.hidden=[6]");
    hwm_progress_state loaded = {0};
    assert_int_equal(hwm_checkpoint_save(*state, "latest", a.agent, &progress, &err), HWM_OK);
    assert_int_equal(hwm_checkpoint_resume(*state, b.agent, &loaded, &err), HWM_ESIGNATURE);
    assert_non_null(strstr(err.text, "layer"));
    char path[512];
    snprintf(path, sizeof path, "%s/checkpoints/latest/state.json", (char*)*state);
    FILE* f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"format\": 99}", f);
    fclose(f);
    snprintf(path, sizeof path, "%s/checkpoints/latest", (char*)*state);
    assert_int_equal(hwm_checkpoint_load(path, a.agent, &loaded, &err), HWM_EVERSION);
    run_destroy(&a);
    run_destroy(&b);
}

static void test_a_failed_save_leaves_the_old_one(void** state) {
    hwm_error err = {0};
    run a = run_create(NULL);
    hwm_progress_state s = progress, loaded = {0};
    assert_int_equal(hwm_checkpoint_save(*state, "best", a.agent, &s, &err), HWM_OK);
    assert_int_equal(hwm_checkpoint_save(*state, "latest", a.agent, &s, &err), HWM_OK);
    // the temporary directory cannot be made: a file stands in its way
    char path[512];
    snprintf(path, sizeof path, "%s/checkpoints/.latest.tmp", (char*)*state);
    FILE* f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    s.env_steps = 999;
    assert_int_equal(hwm_checkpoint_save(*state, "latest", a.agent, &s, &err), HWM_EIO);
    assert_int_equal(hwm_checkpoint_resume(*state, a.agent, &loaded, &err), HWM_OK);
    assert_int_equal(loaded.env_steps, progress.env_steps);
    run_destroy(&a);
}

int main(void) {
#define CASE(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_a_resumed_agent_goes_on_as_the_other),
        CASE(test_quantiles_of_the_newest_rows_go_along),
        CASE(test_corrupt_newest_falls_back),
        CASE(test_other_settings_and_newer_formats_are_refused),
        CASE(test_a_failed_save_leaves_the_old_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
