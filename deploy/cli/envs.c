// hwm envs: the environments with their specs.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "commands.h"
#include "env/env_config.h"

typedef struct envs_options {
    bool json;
    hwm_text_list set;
    const char* plugin_dir;
} envs_options;

static hwm_status spec_of(const char* name, const envs_options* o, hwm_env_spec* spec,
                          hwm_error* err) {
    hwm_env_config* config = calloc(1, sizeof *config);
    if (!config) {
        return hwm_fail(err, HWM_ENOMEM, "out of memory");
    }
    hwm_config_section section = {.table = &hwm_env_table, .target = config};
    hwm_status code = hwm_config_load(&section, 1, NULL, "", o->set.v, o->set.n, err);
    if (code == HWM_OK) {
        snprintf(config->name, sizeof config->name, "%s", name);
        code = hwm_env_describe(config, spec, err);
    }
    free(config);
    return code;
}

static void print_spec(const hwm_env_spec* spec) {
    printf("%s\n", spec->name);
    printf("  actions      %d %s", spec->action_dim, spec->discrete ? "discrete" : "in [-1, 1]");
    if (spec->discrete) {
        printf(" (%d choices, %s)", spec->n_actions,
               spec->n_actions == 2 ? "by its sign" : "the largest one");
    }
    for (int a = 0; a < spec->action_dim; a++) {
        printf("%s%s", a ? ", " : ": ", spec->action_name[a]);
    }
    printf("\n  episode      at most %d decisions of %g s (action repeat %d)\n", spec->time_limit,
           spec->control_dt, spec->action_repeat);
    printf("  init-state   %d numbers\n  observations %d\n", spec->init_dim, spec->obs_dim);
    for (int o = 0; o < spec->obs_dim; o++) {
        printf("    %-20s %-6s scale %-8g range [%g, %g]\n", spec->obs_name[o], spec->obs_unit[o],
               (double)spec->obs_scale[o], (double)spec->obs_low[o], (double)spec->obs_high[o]);
    }
}

static void put_json(hwm_json_writer* w, const hwm_env_spec* spec, const char* help) {
    hwm_json_open(w, NULL, '{');
    hwm_json_put_text(w, "name", spec->name);
    hwm_json_put_text(w, "help", help);
    hwm_json_put_whole(w, "obs_dim", spec->obs_dim);
    hwm_json_put_whole(w, "action_dim", spec->action_dim);
    hwm_json_put_true(w, "discrete", spec->discrete);
    hwm_json_put_whole(w, "n_actions", spec->n_actions);
    hwm_json_put_whole(w, "time_limit", spec->time_limit);
    hwm_json_put_whole(w, "action_repeat", spec->action_repeat);
    hwm_json_put_number(w, "control_dt_s", spec->control_dt);
    hwm_json_put_whole(w, "init_dim", spec->init_dim);
    hwm_json_open(w, "observations", '[');
    for (int o = 0; o < spec->obs_dim; o++) {
        hwm_json_open(w, NULL, '{');
        hwm_json_put_text(w, "name", spec->obs_name[o]);
        hwm_json_put_text(w, "unit", spec->obs_unit[o]);
        hwm_json_put_number(w, "scale", (double)spec->obs_scale[o]);
        hwm_json_put_number(w, "low", (double)spec->obs_low[o]);  // null: unbounded
        hwm_json_put_number(w, "high", (double)spec->obs_high[o]);
        hwm_json_close(w);
    }
    hwm_json_close(w);
    hwm_json_open(w, "actions", '[');
    for (int a = 0; a < spec->action_dim; a++) {
        hwm_json_put_text(w, NULL, spec->action_name[a]);
    }
    hwm_json_close(w);
    hwm_json_close(w);
}

// Needs a file of the user's before it has a spec.
static bool needs_file(const char* name) {
    return strcmp(name, "mjcf") == 0 || strcmp(name, "plugin") == 0;
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    const envs_options* o = options;
    hwm_env_plugin_dir(o->plugin_dir);
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    hwm_exit code = spec ? HWM_EXIT_DONE : HWM_EXIT_FAILED;
    bool one = n_operands > 0;
    hwm_json_writer w = hwm_json_writer_of(stdout, 1, 9);
    if (o->json && !one) {
        hwm_json_open(&w, NULL, '[');
    }
    for (int k = 0; code == HWM_EXIT_DONE && k < (one ? 1 : hwm_env_count()); k++) {
        const char* name = one ? operands[0] : hwm_env_name(k);
        const char* help = "";
        for (int e = 0; e < hwm_env_count(); e++) {
            help = strcmp(hwm_env_name(e), name) == 0 ? hwm_env_help(e) : help;
        }
        if (!one && !o->json) {
            printf("%-18s %s\n", name, help);
            continue;
        }
        if (!one && needs_file(name)) {
            continue;
        }
        hwm_error err = {0};
        hwm_status s = spec_of(name, o, spec, &err);
        if (s != HWM_OK) {
            fprintf(stderr, "hwm envs: %s\n", err.text);
            code = s == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
        } else if (o->json) {
            put_json(&w, spec, help);
        } else {
            print_spec(spec);
        }
    }
    if (code == HWM_EXIT_DONE && o->json) {
        if (!one) {
            hwm_json_close(&w);
        }
        printf("\n");
    }
    free(spec);
    return code;
}

static const hwm_option options[] = {
    {"--set", "KEY=VALUE", HWM_OPTION_LIST, offsetof(envs_options, set), NULL, 0, 0,
     "A field of section env, as env.observation=antbullet."},
    {"--plugin-dir", "DIR", HWM_OPTION_TEXT, offsetof(envs_options, plugin_dir), NULL, 0, 0,
     "Folder of environment plug-ins."},
    {"--json", NULL, HWM_OPTION_FLAG, offsetof(envs_options, json), NULL, 0, 0,
     "Specs as JSON: of one environment an object, of all an array."},
};
const hwm_command hwm_command_envs = {
    .name = "envs",
    .operands = "[NAME]",
    .operands_max = 1,
    .summary = "List the environments, or show what one sees and does",
    .example = "hwm envs\nhwm envs quadruped --set env.observation=antbullet",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(envs_options),
    .run = run,
};
