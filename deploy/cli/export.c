// hwm export: take the rule with you, as safetensors or as one C header.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "commands.h"
#include "experiment/acting.h"
#include "experiment/evaluate.h"
#include "export_header.h"
#include "judge.h"
#include "nn/safetensors.h"

typedef struct export_options {
    const char* checkpoint;
    const char* safetensors;
    const char* header;
    const char* prefix;
    bool json;
} export_options;

static hwm_status write_header(const hwm_checkpoint* c, const export_options* o, hwm_error* err) {
    hwm_controller* controller = NULL;
    hwm_env_spec* spec = calloc(1, sizeof *spec);
    hwm_real *phi = NULL, *coef = NULL;
    hwm_export_cost cost;
    hwm_status s = spec ? hwm_env_describe(&c->experiment->env, spec, err) : HWM_ENOMEM;
    s = s != HWM_OK ? s : hwm_experiment_controller(c->experiment, &controller, err);
    if (s != HWM_OK) {
        goto done;
    }
    phi = calloc(c->list.count + 1, sizeof *phi);
    coef = calloc((size_t)hwm_controller_coef_count(controller) + 1, sizeof *coef);
    if (!phi || !coef) {
        s = hwm_fail(err, HWM_ENOMEM, "out of memory");
        goto done;
    }
    for (size_t k = 0; k < c->list.count; k++) {
        phi[k] = (hwm_real)c->phi[k];
    }
    hwm_controller_prepare(controller, phi, coef);
    s = hwm_export_header(o->header, o->prefix, spec, controller, phi, coef, &cost, err);
    if (s == HWM_OK && o->json) {
        hwm_json_writer w = hwm_json_writer_of(stdout, 0, 9);
        hwm_json_open(&w, NULL, '{');
        hwm_json_put_text(&w, "header", o->header);
        hwm_json_put_whole(&w, "rom_bytes", cost.rom_bytes);
        hwm_json_put_whole(&w, "ram_bytes", cost.ram_bytes);
        hwm_json_put_whole(&w, "multiplications", cost.multiplications);
        hwm_json_put_whole(&w, "additions", cost.additions);
        hwm_json_put_whole(&w, "tanh", cost.tanhs);
        hwm_json_put_whole(&w, "divisions", cost.divisions);
        hwm_json_put_whole(&w, "synapses", cost.synapses);
        hwm_json_put_whole(&w, "plastic_synapses", cost.plastic_synapses);
        hwm_json_close(&w);
        printf("\n");
    } else if (s == HWM_OK) {
        printf("%s: %" PRId64 " synapses, %" PRId64 " of them plastic; constants %" PRId64
               " bytes, state %" PRId64 " bytes; a step takes at most %" PRId64
               " multiplications, %" PRId64 " additions, %" PRId64 " tanh, %" PRId64 " divisions\n",
               o->header, cost.synapses, cost.plastic_synapses, cost.rom_bytes, cost.ram_bytes,
               cost.multiplications, cost.additions, cost.tanhs, cost.divisions);
    }
done:
    hwm_controller_destroy(&controller);
    free(spec);
    free(phi);
    free(coef);
    return s;
}

static hwm_status write_safetensors(const hwm_checkpoint* c, const char* path, hwm_error* err) {
    nn_meta meta[3] = {{.key = "experiment"}, {.key = "env"}, {.key = "written_by"}};
    snprintf(meta[0].text, sizeof meta[0].text, "%s", c->experiment->run.name);
    snprintf(meta[1].text, sizeof meta[1].text, "%s", c->experiment->env.name);
    snprintf(meta[2].text, sizeof meta[2].text, "hwm %s", HWM_VERSION);
    return nn_safetensors_write(path, &c->list, c->phi, meta, 3, err);
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    const export_options* o = options;
    const char* path = o->checkpoint ? o->checkpoint : n_operands ? operands[0] : NULL;
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    if (!path || (!o->safetensors && !o->header)) {
        fprintf(stderr, "hwm export: %s\n",
                !path ? "--checkpoint is missing: a run directory or one of its checkpoints"
                      : "nothing to write: give --header FILE, --safetensors FILE or both");
        return HWM_EXIT_USAGE;
    }
    hwm_checkpoint c;
    hwm_error err = {0};
    hwm_status s = hwm_checkpoint_open(&c, path, &err);
    if (s == HWM_OK) {
        s = hwm_experiment_rule_acts(c.experiment, &err);
        s = s == HWM_OK && o->safetensors ? write_safetensors(&c, o->safetensors, &err) : s;
        s = s == HWM_OK && o->header ? write_header(&c, o, &err) : s;
        hwm_checkpoint_close(&c);
    }
    if (s != HWM_OK) {
        fprintf(stderr, "hwm export: %s\n", err.text);
    }
    return s == HWM_OK ? HWM_EXIT_DONE : s == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
}

#define OPTION(field) offsetof(export_options, field)
static const hwm_option options[] = {
    {"--checkpoint", "DIR", HWM_OPTION_TEXT, OPTION(checkpoint), NULL, 0, 0,
     "A run directory (its best checkpoint, else its latest) or one of its checkpoints."},
    {"--header", "FILE", HWM_OPTION_TEXT, OPTION(header), NULL, 0, 0,
     "Write a C header: controller, rule and coefficients, one function per step, no allocation, "
     "no library."},
    {"--prefix", "NAME", HWM_OPTION_TEXT, OPTION(prefix), "hwm", 0, 0,
     "What every name in the header begins with."},
    {"--safetensors", "FILE", HWM_OPTION_TEXT, OPTION(safetensors), NULL, 0, 0,
     "Write the parameters, which Python's safetensors reads."},
    {"--json", NULL, HWM_OPTION_FLAG, OPTION(json), NULL, 0, 0,
     "Print the header's size and operations as an object."},
};
const hwm_command hwm_command_export = {
    .name = "export",
    .operands = "[CHECKPOINT]",
    .operands_max = 1,
    .summary = "Take a trained rule with you: safetensors, or a C header for a microcontroller",
    .details = "The header holds the controller, its rule and its coefficients, draws the same "
               "initial weights as "
               "the trainer and computes the same numbers, bit for bit. Its size and the "
               "operations of one step "
               "are printed. It holds the rules abcd, mod3, shifted and trace with every "
               "modulator, bound and "
               "schedule; not the "
               "network rule and the naive ones, nor initial weights drawn normal or sparse.",
    .example = "hwm export --checkpoint runs/cartpole-seed0 --header cartpole.h --prefix cartpole",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(export_options),
    .run = run,
};
