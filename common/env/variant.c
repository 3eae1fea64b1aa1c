// Reading and drawing hidden variants.
#include "env/variant.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct type_row {
    const char* name;
    double neutral;
    bool takes_value;
    double low, high;  // allowed
    unsigned needs;    // property of the kind, 0: every environment has it
    const char* lacks;
} type_row;

static const type_row types[ENV_VARIANT_TYPES] = {
    [ENV_FLIP] = {"flip", 1.0, false, -1.0, -1.0, 0, ""},
    [ENV_GAIN] = {"gain", 1.0, true, 0.0, 100.0, ENV_HAS_GAIN, "its actions have no strength"},
    [ENV_DELAY] = {"delay", 0.0, true, 1.0, ENV_DELAY_MAX, 0, ""},
    [ENV_MASS] = {"mass", 1.0, true, 0.01, 100.0, ENV_HAS_MASS, "it has no masses"},
    [ENV_FRICTION] = {"friction", 1.0, true, 0.0, 100.0, ENV_HAS_FRICTION, "it has no friction"},
    [ENV_SENSOR_NOISE] = {"sensor_noise", 0.0, true, 0.0, 100.0, 0, ""},
    [ENV_OBS_SIGN] = {"obs_sign", 0.0, false, 1.0, 16777215.0, 0, ""},
    [ENV_DAMAGE] = {"damage", 1.0, true, 0.0, 100.0, ENV_HAS_PARTS, "it has no parts to damage"},
};

double env_variant_neutral(env_variant_type type) {
    return types[type].neutral;
}

// "1.5" or "0.5..2"; true when the whole word was read
static bool read_range(const char* text, double* low, double* high) {
    char* end;
    *low = *high = strtod(text, &end);
    if (end == text) {
        return false;
    }
    if (strncmp(end, "..", 2) == 0) {
        const char* second = end + 2;
        *high = strtod(second, &end);
        if (end == second) {
            return false;
        }
    } else if (*end == '.' && strncmp(end - 1, "..", 2) == 0) {
        // strtod took the first dot of "1..2" for a decimal point
        const char* second = end + 1;
        *high = strtod(second, &end);
        if (end == second) {
            return false;
        }
    }
    return *end == '\0' && isfinite(*low) && isfinite(*high) && *low <= *high;
}

static hwm_status match_parts(env_variant_rule* rule, const char* pattern, const char* item,
                              const char* key, const env_kind* kind, const hwm_env_config* config,
                              hwm_error* err) {
    env_parts parts = {0};
    kind->parts(config, &parts);
    for (int k = 0; k < parts.n; k++) {
        if (fnmatch(pattern, parts.name[k], 0) == 0) {
            rule->part[rule->n_parts++] = (uint8_t)k;
        }
    }
    if (rule->n_parts > 0) {
        return HWM_OK;
    }
    char known[512] = "";
    for (int k = 0; k < parts.n; k++) {
        strncat(known, k ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, parts.name[k], sizeof known - strlen(known) - 1);
    }
    return hwm_fail(err, HWM_EINVAL, "%s: \"%s\": %s has no part \"%s\"; it has: %s", key, item,
                    kind->name, pattern, known);
}

static hwm_status parse_rule(env_variant_rule* rule, const char* item, const char* key,
                             const env_kind* kind, const hwm_env_config* config, hwm_error* err) {
    char text[HWM_CONFIG_ITEM_MAX];
    snprintf(text, sizeof text, "%s", item);
    char* rest;
    char* head = strtok_r(text, " \t", &rest);
    if (!head) {
        return hwm_fail(err, HWM_EINVAL, "%s: an empty variant", key);
    }
    char* value = strchr(head, '=');
    if (value) {
        *value++ = '\0';
    }
    char* part = strchr(head, ':');
    if (part) {
        *part++ = '\0';
    }
    int type = 0;
    while (type < ENV_VARIANT_TYPES && strcmp(types[type].name, head) != 0) {
        type++;
    }
    if (type == ENV_VARIANT_TYPES) {
        return hwm_fail(err, HWM_EINVAL,
                        "%s: \"%s\": there is no variant \"%s\"; known: flip, gain, delay, mass, "
                        "friction, sensor_noise, obs_sign, damage",
                        key, item, head);
    }
    const type_row* row = &types[type];
    *rule = (env_variant_rule){
        .type = (env_variant_type)type, .low = row->low, .high = row->high, .p = 1.0};
    bool lacks = row->needs && !(kind->has & row->needs);
    if (lacks) {
        return hwm_fail(err, HWM_EINVAL, "%s: \"%s\": %s cannot vary so: %s", key, item, kind->name,
                        row->lacks);
    }
    if (row->takes_value != (value != NULL)) {
        return hwm_fail(err, HWM_EINVAL, "%s: \"%s\": %s takes %s", key, item, head,
                        row->takes_value ? "a value, as in gain=0.5 or gain=0.5..2" : "no value");
    }
    if (value && (!read_range(value, &rule->low, &rule->high) || rule->low < row->low ||
                  rule->high > row->high)) {
        return hwm_fail(err, HWM_EINVAL, "%s: \"%s\": \"%s\" is not a value or range within %g..%g",
                        key, item, value, row->low, row->high);
    }
    if ((type == ENV_DAMAGE) != (part != NULL)) {
        return hwm_fail(err, HWM_EINVAL, "%s: \"%s\": %s", key, item,
                        part ? "only damage names a part"
                             : "which part? as in damage:ankle_1=0.25");
    }
    for (char* word; (word = strtok_r(NULL, " \t", &rest));) {
        double low, high;
        if (strncmp(word, "p=", 2) == 0 && read_range(word + 2, &low, &high) && low == high &&
            low >= 0.0 && low <= 1.0) {
            rule->p = low;
        } else if (strncmp(word, "t=", 2) == 0 && read_range(word + 2, &low, &high) && low >= 0.0 &&
                   high <= 1e7 && low == floor(low) && high == floor(high)) {
            rule->from = (uint32_t)low;
            rule->to = (uint32_t)high;
        } else {
            return hwm_fail(err, HWM_EINVAL,
                            "%s: \"%s\": \"%s\" is neither p=CHANCE (0..1) nor t=DECISION or "
                            "t=FROM..TO (whole numbers)",
                            key, item, word);
        }
    }
    return part ? match_parts(rule, part, item, key, kind, config, err) : HWM_OK;
}

// Columns are named after their type; a second rule of the same type gets a number.
static bool name_column(hwm_env_spec* spec, const char* name, int same) {
    if (spec->variant_dim >= (int)(sizeof spec->variant_name / sizeof spec->variant_name[0])) {
        return false;
    }
    char* out = spec->variant_name[spec->variant_dim++];
    if (same > 1) {
        snprintf(out, sizeof spec->variant_name[0], "%s.%d", name, same);
    } else {
        snprintf(out, sizeof spec->variant_name[0], "%s", name);
    }

    return true;
}

hwm_status env_variants_parse(env_variant_set* set, const hwm_string_list* items, const char* key,
                              const env_kind* kind, const hwm_env_config* config,
                              hwm_env_spec* spec, hwm_error* err) {
    memset(set, 0, sizeof *set);
    spec->variant_dim = 0;
    int seen[ENV_VARIANT_TYPES] = {0};
    for (int k = 0; k < items->n; k++) {
        env_variant_rule* rule = &set->rule[k];
        hwm_status code = parse_rule(rule, items->v[k], key, kind, config, err);
        if (code != HWM_OK) {
            return code;
        }
        int same = ++seen[rule->type];
        rule->column = spec->variant_dim;
        bool room = name_column(spec, types[rule->type].name, same);
        if (rule->n_parts > 1) {
            room = room && name_column(spec, "damage.part", same);
        }
        if (!room) {
            return hwm_fail(err, HWM_EINVAL, "%s: \"%s\": more than %zu recorded values", key,
                            items->v[k], sizeof spec->variant_name / sizeof spec->variant_name[0]);
        }
        if (rule->type == ENV_DELAY) {
            set->delay_max += (int)rule->high;
            if (set->delay_max > ENV_DELAY_MAX) {
                return hwm_fail(err, HWM_EINVAL, "%s: \"%s\": delays add up to %d, more than %d",
                                key, items->v[k], set->delay_max, ENV_DELAY_MAX);
            }
        }
        set->any_noise |= rule->type == ENV_SENSOR_NOISE;
        set->any_sign |= rule->type == ENV_OBS_SIGN;
        set->any_physics |= types[rule->type].needs != 0;
        set->n++;
    }
    set->columns = spec->variant_dim;
    return HWM_OK;
}

void env_variants_draw(const env_variant_set* set, uint64_t seed, uint32_t stream, uint32_t episode,
                       const float* forced, env_variant_draw* draws) {
    for (int k = 0; k < set->n; k++) {
        const env_variant_rule* rule = &set->rule[k];
        env_variant_draw* d = &draws[k];
        // one stream per rule: adding one leaves the draws of the others alone
        hwm_rng rng;
        hwm_rng_init(&rng, seed, HWM_PURPOSE_VARIANT, stream, episode, (uint32_t)k);
        bool present = hwm_rng_uniform_double(&rng) < rule->p;
        double u = hwm_rng_uniform_double(&rng);
        bool whole = rule->type == ENV_DELAY || rule->type == ENV_OBS_SIGN;
        double span = rule->high - rule->low;
        d->value = whole ? rule->low + floor(u * (span + 1.0)) : rule->low + u * span;
        d->at = rule->from + hwm_rng_below(&rng, rule->to - rule->from + 1);
        d->part = rule->n_parts > 0 ? rule->part[hwm_rng_below(&rng, (uint32_t)rule->n_parts)] : 0;
        if (!present) {
            d->value = types[rule->type].neutral;
        }
        if (forced) {
            d->at = 0;
            d->value = forced[rule->column];
            if (rule->n_parts > 1) {
                d->part = (int)forced[rule->column + 1];
            }
        }
    }
}
