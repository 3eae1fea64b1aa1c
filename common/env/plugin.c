// data path  [1] env
//
// Environment `plugin`: a shared object of the user's behind the interface of env/plugin.h.
#include "env/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "env/kind.h"

typedef const hwm_env_plugin* (*entry_function)(void);

typedef struct plugin_batch {
    void* library;
    const hwm_env_plugin* plugin;
    int count;
    float* obs;   // (E,O) scratch of the finite check
    void* env[];  // (E)
} plugin_batch;

static char plugin_dir[1024];

void hwm_env_plugin_dir(const char* dir) {
    snprintf(plugin_dir, sizeof plugin_dir, "%s", dir ? dir : "");
}

static bool is_base_name(const char* name) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return name[0] != '\0' && strspn(name, allowed) == strlen(name);
}

// What a plug-in may not say of itself, or NULL.
static const char* wrong(const hwm_env_plugin* p) {
    if (p->obs_dim < 1 || p->obs_dim > 512 || !p->obs) {
        return "obs_dim is not 1..512, or obs is missing";
    }
    if (p->action_dim < 1 || p->action_dim > 64 || !p->action_names) {
        return "action_dim is not 1..64, or action_names are missing";
    }
    if (p->n_actions != 0 && p->action_dim != (p->n_actions == 2 ? 1 : p->n_actions)) {
        return "action_dim does not go with n_actions";
    }
    if (p->n_actions == 1 || p->n_actions < 0 || p->time_limit < 1 || !(p->step_s > 0.0)) {
        return "n_actions, time_limit or step_s is out of range";
    }
    if (p->state_dim < 1 || p->state_dim > 4096 || p->init_dim < 0 || p->init_dim > p->state_dim) {
        return "state_dim is not 1..4096, or init_dim not within it";
    }
    for (int o = 0; o < p->obs_dim; o++) {
        if (!p->obs[o].name || !p->obs[o].unit || !(p->obs[o].scale > 0.0)) {
            return "an observation has no name, no unit or no positive scale";
        }
    }
    if (!p->create || !p->destroy || !p->reset || !p->step || !p->observe || !p->get_state ||
        !p->set_state) {
        return "one of create, destroy, reset, step, observe, get_state, set_state is missing";
    }
    return NULL;
}

static hwm_status open_plugin(void** library, const hwm_env_plugin** plugin,
                              const hwm_env_config* config, hwm_error* err) {
    *library = NULL;
    const char* name = config->plugin;
    const char* dir = plugin_dir[0] ? plugin_dir : getenv("HWM_PLUGIN_DIR");
    if (!is_base_name(name)) {
        return hwm_fail(
            err, HWM_EINVAL,
            "env.plugin: \"%s\" is not the base name of a plug-in: letters, digits, _ and -", name);
    }
    if (!dir || !dir[0]) {
        return hwm_fail(err, HWM_EINVAL,
                        "env.plugin: \"%s\" needs a folder to be loaded from: --plugin-dir DIR or "
                        "HWM_PLUGIN_DIR",
                        name);
    }
    char path[1400];
    snprintf(path, sizeof path, "%s/%s.so", dir, name);
    if (access(path, R_OK) != 0) {
        return hwm_fail(err, HWM_EINVAL, "env.plugin: %s: %s", path, strerror(errno));
    }
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*library) {
        return hwm_fail(err, HWM_EINVAL, "env.plugin: %s", dlerror());
    }
    // POSIX lets a data pointer from dlsym stand for a function; C does not, hence the copy
    void* symbol = dlsym(*library, "hwm_env_plugin_entry");
    entry_function entry;
    memcpy(&entry, &symbol, sizeof symbol);
    const hwm_env_plugin* p = symbol ? entry() : NULL;
    hwm_status code = HWM_OK;
    if (!p) {
        code = hwm_fail(err, HWM_EINVAL, "env.plugin: %s exports no hwm_env_plugin_entry", path);
    } else if (p->abi != HWM_ENV_PLUGIN_ABI || p->bytes != sizeof *p) {
        code = hwm_fail(err, HWM_EVERSION,
                        "env.plugin: %s was built for interface %u (%u bytes); this program has %u "
                        "(%zu bytes): build it again",
                        path, p->abi, p->bytes, HWM_ENV_PLUGIN_ABI, sizeof *p);
    } else if (wrong(p)) {
        code = hwm_fail(err, HWM_EINVAL, "env.plugin: %s: %s", path, wrong(p));
    }
    if (code != HWM_OK) {
        dlclose(*library);
        *library = NULL;
        return code;
    }
    *plugin = p;
    return HWM_OK;
}

static hwm_status plugin_describe(const hwm_env_config* config, hwm_env_spec* spec,
                                  hwm_error* err) {
    void* library;
    const hwm_env_plugin* p;
    hwm_status code = open_plugin(&library, &p, config, err);
    if (code != HWM_OK) {
        return code;
    }
    for (int o = 0; o < p->obs_dim; o++) {
        const hwm_env_plugin_value* v = &p->obs[o];
        env_spec_obs(spec, v->name, v->unit, v->scale, v->low, v->high);
    }
    for (int a = 0; a < p->action_dim; a++) {
        snprintf(spec->action_name[a], sizeof spec->action_name[a], "%s", p->action_names[a]);
    }
    spec->action_dim = p->action_dim;
    spec->discrete = p->n_actions > 0;
    spec->n_actions = p->n_actions;
    spec->time_limit = p->time_limit;
    spec->state_dim = p->state_dim;
    spec->init_dim = p->init_dim;
    spec->control_dt = p->step_s;
    dlclose(library);
    return HWM_OK;
}

static void plugin_destroy(void* self) {
    plugin_batch* b = self;
    for (int i = 0; i < b->count; i++) {
        if (b->env[i]) {
            b->plugin->destroy(b->env[i]);
        }
    }
    if (b->library) {
        dlclose(b->library);
    }
    free(b->obs);
    free(b);
}

static hwm_status plugin_create(void** out, const hwm_env_config* config, int count, bool varies,
                                hwm_error* err) {
    (void)varies;
    plugin_batch* b = calloc(1, sizeof *b + (size_t)count * sizeof(void*));
    if (!b) {
        return hwm_fail(err, HWM_ENOMEM, "plugin: out of memory");
    }
    hwm_status code = open_plugin(&b->library, &b->plugin, config, err);
    if (code == HWM_OK) {
        b->obs = calloc((size_t)count * (size_t)b->plugin->obs_dim, sizeof *b->obs);
        b->count = b->obs ? count : 0;
        for (int i = 0; i < b->count && code == HWM_OK; i++) {
            b->env[i] = b->plugin->create();
            code = b->env[i] ? HWM_OK : HWM_ENOMEM;
        }
        if (!b->obs || code != HWM_OK) {
            code = hwm_fail(err, HWM_ENOMEM, "env.plugin: \"%s\" does not create %d environments",
                            config->plugin, count);
        }
    }
    if (code != HWM_OK) {
        plugin_destroy(b);
        return code;
    }
    *out = b;
    return HWM_OK;
}

static void plugin_reset(void* self, int i, hwm_rng* rng) {
    plugin_batch* b = self;
    uint64_t seed = (uint64_t)hwm_rng_u32(rng) << 32;
    b->plugin->reset(b->env[i], seed | hwm_rng_u32(rng));
}

static void plugin_step(void* self, int begin, int end, const uint8_t* active, const float* action,
                        float* reward, uint8_t* outcome) {
    plugin_batch* b = self;
    const hwm_env_plugin* p = b->plugin;
    for (int i = begin; i < end; i++) {
        if (active && !active[i]) {
            continue;
        }
        reward[i] = 0.0f;
        int code = p->step(b->env[i], action + (size_t)i * (size_t)p->action_dim, &reward[i]);
        // somebody else's code: what it returns is checked before anybody learns from it
        float* obs = b->obs + (size_t)i * (size_t)p->obs_dim;
        p->observe(b->env[i], obs);
        bool finite = isfinite(reward[i]);
        for (int o = 0; o < p->obs_dim; o++) {
            finite = finite && isfinite(obs[o]);
        }
        bool known = code >= HWM_PLUGIN_GO_ON && code < HWM_PLUGIN_DIVERGED;
        outcome[i] = (uint8_t)(finite && known ? code : ENV_DIVERGED);
    }
}

static void plugin_observe(const void* self, int begin, int end, const uint8_t* active,
                           float* obs) {
    const plugin_batch* b = self;
    for (int i = begin; i < end; i++) {
        if (!active || active[i]) {
            b->plugin->observe(b->env[i], obs + (size_t)(i - begin) * (size_t)b->plugin->obs_dim);
        }
    }
}

static void plugin_get_state(const void* self, int i, double* state) {
    const plugin_batch* b = self;
    b->plugin->get_state(b->env[i], state);
}

static void plugin_set_state(void* self, int i, const double* state) {
    plugin_batch* b = self;
    b->plugin->set_state(b->env[i], state);
}

static hwm_status plugin_render(void* self, int i, int width, int height, uint8_t* rgb,
                                hwm_error* err) {
    plugin_batch* b = self;
    if (!b->plugin->render) {
        return hwm_fail(err, HWM_EUNSUPPORTED, "this plug-in draws no pictures");
    }
    b->plugin->render(b->env[i], width, height, rgb);
    return HWM_OK;
}

_Static_assert((int)HWM_PLUGIN_TERMINATED == (int)ENV_TERMINATED &&
                   (int)HWM_PLUGIN_TRUNCATED == (int)ENV_TRUNCATED &&
                   (int)HWM_PLUGIN_DIVERGED == (int)ENV_DIVERGED,
               "outcomes of plug-ins are ours");

const env_kind env_kind_plugin = {
    .name = "plugin",
    .help = "an environment of your own: env.plugin names its shared object",
    .describe = plugin_describe,
    .create = plugin_create,
    .destroy = plugin_destroy,
    .reset = plugin_reset,
    .step = plugin_step,
    .observe = plugin_observe,
    .get_state = plugin_get_state,
    .set_state = plugin_set_state,
    .render = plugin_render,
};
