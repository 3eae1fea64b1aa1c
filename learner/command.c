// The command line of hwm-learner.
#include "command.h"

#include <stddef.h>

#include "base/signals.h"
#include "env/env.h"
#include "experiment/experiment.h"
#include "learner.h"

typedef struct options {
    const char *server, *key_dir, *experiment, *run_dir, *plugin_dir;
    hwm_text_list set;
    bool insecure, print_config;
} options;

#define AT(field) offsetof(options, field)
static const hwm_option table[] = {
    {"--server", "ENDPOINT", HWM_OPTION_TEXT, AT(server), NULL, 0, 0,
     "Where the server listens, as ipc:///path or tcp://host:port."},
    {"--experiment", "FILE", HWM_OPTION_TEXT, AT(experiment), NULL, 0, 0,
     "The experiment, a YAML file."},
    {"--run-dir", "DIR", HWM_OPTION_TEXT, AT(run_dir), NULL, 0, 0,
     "Where checkpoints and metrics go; a directory with a checkpoint is resumed."},
    {"--set", "SECTION.NAME=VALUE", HWM_OPTION_LIST, AT(set), NULL, 0, 0,
     "Override one value of the experiment; may be repeated."},
    {"--key-dir", "DIR", HWM_OPTION_TEXT, AT(key_dir), NULL, 0, 0,
     "CURVE keys, for a server on another machine."},
    {"--plugin-dir", "DIR", HWM_OPTION_TEXT, AT(plugin_dir), NULL, 0, 0,
     "The only folder that environment plug-ins are loaded from."},
    {"--insecure", NULL, HWM_OPTION_FLAG, AT(insecure), NULL, 0, 0,
     "Plain text to other machines too."},
    {"--print-config", NULL, HWM_OPTION_FLAG, AT(print_config), NULL, 0, 0,
     "Start nothing: print every value of the experiment and where it came from."},
};

static hwm_exit print_config(const options* o) {
    hwm_error err = {0};
    hwm_experiment* experiment = NULL;
    hwm_status s = hwm_experiment_load(&experiment, o->experiment, NULL, o->set.v, o->set.n, &err);
    if (s == HWM_OK) {
        int n = 0;
        hwm_config_section* sections = hwm_experiment_sections(experiment, &n);
        s = hwm_config_show(sections, n, HWM_CONFIG_ORIGINS, &err);
    }
    hwm_experiment_destroy(&experiment);
    if (s != HWM_OK)
        fprintf(stderr, "hwm-learner: %s\n", err.text);
    return s == HWM_OK ? HWM_EXIT_DONE : s == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
}

static hwm_exit run(const void* given, const char* const* operands, int n_operands) {
    const options* o = given;
    (void)operands;
    (void)n_operands;
    if (o->print_config)
        return print_config(o);
    const char* missing = !o->server       ? "--server"
                          : !o->experiment ? "--experiment"
                          : !o->run_dir    ? "--run-dir"
                                           : NULL;
    if (missing) {
        fprintf(stderr, "hwm-learner: %s is missing; hwm-learner --help explains it\n", missing);
        return HWM_EXIT_USAGE;
    }
    hwm_signals_install();
    hwm_env_plugin_dir(o->plugin_dir);
    const hwm_learner_options l = {
        .server = o->server,
        .key_dir = o->key_dir,
        .insecure = o->insecure,
        .experiment = o->experiment,
        .run_dir = o->run_dir,
        .set = o->set.v,
        .n_set = o->set.n,
    };
    return (hwm_exit)hwm_learner_run(&l);
}

const hwm_command hwm_learner_command = {
    .name = "hwm-learner",
    .operands = "",
    .summary = "trains world model and plasticity rule on what the server stores",
    .details = "Creates the experiment's table on the server, waits for the prefill, then samples, "
               "trains and publishes until the run is over. SIGTERM saves a checkpoint and ends; "
               "the same run directory resumes.",
    .example =
        "hwm-learner --server ipc:///tmp/run/server.sock --experiment cartpole.yaml --run-dir "
        "/tmp/run",
    .options = table,
    .n_options = (int)(sizeof table / sizeof table[0]),
    .options_bytes = sizeof(options),
    .run = run,
    .is_program = true,
};
