// Every create of the worker without memory.
#include <stdio.h>
#include <string.h>

#include "experiment/experiment.h"
#include "plastic/materialise.h"
#include "worker/chunker.h"
#include "worker/feed.h"
#include "worker/tasks.h"

typedef struct fixture {
    hwm_experiment* experiment;
    hwm_env_spec spec;
    hwm_controller* controller;
    hwm_signature signature;
} fixture;

#include "every_allocation.h"

CREATE(chunker, hwm_chunker,
       hwm_chunker_create(&object, &f->signature, f->controller, 3, 0, 0, 8, err),
       hwm_chunker_destroy(&object))
CREATE(feed, hwm_feed,
       hwm_feed_create(&object, f->controller, hwm_controller_params(f->controller), 2, err),
       hwm_feed_destroy(&object))
CREATE(tasks, hwm_tasks,
       hwm_tasks_create(&object, f->experiment, hwm_controller_params(f->controller), err),
       hwm_tasks_destroy(&object))
CREATE(materialiser, hwm_materialiser, hwm_materialiser_create(&object, f->controller, err),
       hwm_materialiser_destroy(&object))

static int setup(void** state) {
    static const char text[] = "env: {name: cartpole}\ncontroller: {hidden: [4]}\n";
    fixture* f = calloc(1, sizeof *f);
    hwm_error err;
    assert_non_null(f);
    *state = f;
    if (hwm_experiment_load(&f->experiment, "alloc", text, NULL, 0, &err) != HWM_OK ||
        hwm_env_describe(&f->experiment->env, &f->spec, &err) != HWM_OK ||
        hwm_controller_create(&f->controller, &f->experiment->controller, &f->experiment->rule,
                              f->spec.obs_dim, f->spec.obs_scale, f->spec.action_dim,
                              f->spec.discrete, &err) != HWM_OK) {
        print_message("%s\n", err.text);
        return -1;
    }
    hwm_controller_signature(f->controller, f->spec.variant_dim, &f->signature);
    return 0;
}

static int teardown(void** state) {
    fixture* f = *state;
    hwm_controller_destroy(&f->controller);
    hwm_experiment_destroy(&f->experiment);
    free(f);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_chunker),
        TEST(test_feed),
        TEST(test_tasks),
        TEST(test_materialiser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
