// Hidden variants: what an episode changes in its environment without telling the controller.
//
// One item of env.variants (or env.held_out) is one rule:
//
//     NAME[:PART][=VALUE | =LOW..HIGH] [p=P] [t=T | t=FROM..TO]
//
//   flip            the sign of the action; with more than two discrete actions their order
//   gain=F          strength of the actuators, times F
//   delay=N         the action taken N decisions ago acts now
//   mass=F          every mass, times F
//   friction=F      contact friction and joint damping, times F
//   sensor_noise=S  Gaussian noise of S observation scales on every observation
//   obs_sign        signs of the observations drawn per episode
//   damage:PART=F   an actuator of that name weakened (0: dead), a limb of that name shortened,
//   times F; PART may be a pattern
//                   (*_ankle), then every episode draws one of those that match
//
// p: chance that an episode has it (default 1). t: decision at which it comes into force (default
// 0). Ranges are drawn per episode. Rules compose: factors multiply, delays add, flips cancel.
// Private to common/env.
#ifndef HWM_ENV_VARIANT_H
#define HWM_ENV_VARIANT_H

#include "env/kind.h"

typedef enum env_variant_type {
    ENV_FLIP,
    ENV_GAIN,
    ENV_DELAY,
    ENV_MASS,
    ENV_FRICTION,
    ENV_SENSOR_NOISE,
    ENV_OBS_SIGN,
    ENV_DAMAGE,
    ENV_VARIANT_TYPES
} env_variant_type;

enum { ENV_DELAY_MAX = 64 };

typedef struct env_variant_rule {
    env_variant_type type;
    double low, high;  // value in force
    double p;
    uint32_t from, to;  // decision of the change, both included
    int column;  // in the recorded variant; a rule with several parts also has column + 1: the part
    int n_parts;                  // damage
    uint8_t part[ENV_PARTS_MAX];  // damage: those that match
} env_variant_rule;

typedef struct env_variant_set {
    int n;
    int columns;
    int delay_max;  // of all rules together
    bool any_noise, any_sign, any_physics;
    env_variant_rule rule[HWM_CONFIG_LIST_MAX];
} env_variant_set;

// What one rule drew for one episode.
typedef struct env_variant_draw {
    double value;  // neutral where the episode does not have it
    uint32_t at;   // decision at which it comes into force
    int part;      // damage
} env_variant_draw;

// Read the rules of a list and check them against the kind. Fills spec->variant_dim and
// variant_name.
hwm_status env_variants_parse(env_variant_set* set, const hwm_string_list* items, const char* key,
                              const env_kind* kind, const hwm_env_config* config,
                              hwm_env_spec* spec, hwm_error* err);
double env_variant_neutral(env_variant_type type);
// Draws of one episode; forced (columns), may be NULL: those values from the first decision on.
void env_variants_draw(const env_variant_set* set, uint64_t seed, uint32_t stream, uint32_t episode,
                       const float* forced, env_variant_draw* draws);
// Rule k's value in force before decision t.
static inline double env_variant_value(const env_variant_rule* rule, const env_variant_draw* draw,
                                       uint32_t t) {
    return t >= draw->at ? draw->value : env_variant_neutral(rule->type);
}

#endif
