// An environment of your own: a mass on a spring that is to be brought to rest at a mark.
// Everything that HWM asks of a plug-in is here, in its simplest form.
#include <env/plugin.h>
#include <math.h>
#include <stdlib.h>

typedef struct spring {
    double x, v, mark;  // m, m/s, m
} spring;

static const double step_s = 0.05, stiffness = 1.0, force_max = 2.0;  // s, N/m, N; the mass is 1 kg

static void* create(void) {
    return calloc(1, sizeof(spring));
}

static void destroy(void* env) {
    free(env);
}

// A number in [-1, 1) from the seed (the mixer of splitmix64: Steele, Lea & Flood 2014).
static double number(uint64_t* seed) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) / 4503599627370496.0 - 1.0;
}

static void reset(void* env, uint64_t seed) {
    spring* s = env;
    s->x = number(&seed);
    s->v = 0.0;
    s->mark = number(&seed);
}

static int step(void* env, const float* action, float* reward) {
    spring* s = env;
    s->v += step_s * (force_max * (double)action[0] - stiffness * s->x);
    s->x += step_s * s->v;
    double miss = s->x - s->mark;
    *reward = (float)(1.0 - fmin(1.0, miss * miss + 0.1 * s->v * s->v));
    return fabs(s->x) < 4.0 ? HWM_PLUGIN_GO_ON : HWM_PLUGIN_TERMINATED;
}

static void observe(const void* env, float* obs) {
    const spring* s = env;
    obs[0] = (float)s->x;
    obs[1] = (float)s->v;
    obs[2] = (float)s->mark;
}

static void get_state(const void* env, double* state) {
    const spring* s = env;
    state[0] = s->x;
    state[1] = s->v;
    state[2] = s->mark;
}

static void set_state(void* env, const double* state) {
    *(spring*)env = (spring){state[0], state[1], state[2]};
}

// The mass as a dark bar, the mark as a red one, on white.
static void render(const void* env, int width, int height, uint8_t* rgb) {
    const spring* s = env;
    int mass = (int)((s->x / 8.0 + 0.5) * width), mark = (int)((s->mark / 8.0 + 0.5) * width);
    for (int row = 0; row < height; row++) {
        for (int column = 0; column < width; column++) {
            uint8_t* p = rgb + 3 * ((int64_t)row * width + column);
            int on_mass = abs(column - mass) < width / 20 && abs(row - height / 2) < height / 8;
            int on_mark = abs(column - mark) < 2;
            p[0] = on_mass ? 60 : on_mark ? 200 : 245;
            p[1] = p[2] = on_mass ? 60 : on_mark ? 40 : 245;
        }
    }
}

static const hwm_env_plugin_value values[] = {
    {"x", "m", 1.0, -5.0, 5.0},
    {"v", "m/s", 1.0, -INFINITY, INFINITY},
    {"mark", "m", 1.0, -1.0, 1.0},
};
static const char* const actions[] = {"force"};

static const hwm_env_plugin plugin = {
    .abi = HWM_ENV_PLUGIN_ABI,
    .bytes = sizeof(hwm_env_plugin),
    .help = "bring a mass on a spring to rest at a mark",
    .obs_dim = 3,
    .action_dim = 1,
    .time_limit = 200,
    .state_dim = 3,
    .init_dim = 3,
    .step_s = 0.05,
    .obs = values,
    .action_names = actions,
    .create = create,
    .destroy = destroy,
    .reset = reset,
    .step = step,
    .observe = observe,
    .get_state = get_state,
    .set_state = set_state,
    .render = render,
};

const hwm_env_plugin* hwm_env_plugin_entry(void) {
    return &plugin;
}
