// data path  [8] learner: critic
#include "replay_critic.h"

#include <stdlib.h>
#include <string.h>

struct hwm_replay_critic {
    hwm_imagination_setup set;
    int B, Z, F;
    hwm_real* z;                        // (B,Z) of the replayed rows
    hwm_real *reward, *linked, *ended;  // (B)
    hwm_real *features, *value;         // (B,F), (B)
    hwm_real *target, *weight;          // (B)
};

hwm_replay_critic* hwm_replay_critic_new(const hwm_imagination_setup* setup) {
    hwm_replay_critic* r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->set = *setup;
    r->B = (int)setup->config.batch;
    r->Z = hwm_model_latent(setup->model);
    r->F = hwm_model_features(setup->model);
    const size_t B = (size_t)r->B;
    r->z = calloc(B * (size_t)r->Z, sizeof *r->z);
    r->features = calloc(B * (size_t)r->F, sizeof *r->features);
    hwm_real** all[] = {&r->reward, &r->linked, &r->ended, &r->value, &r->target, &r->weight};
    bool made = r->z && r->features;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        made = (*all[i] = calloc(B, sizeof(hwm_real))) != NULL && made;
    if (!made)
        hwm_replay_critic_free(&r);
    return r;
}

void hwm_replay_critic_free(hwm_replay_critic** replay) {
    hwm_replay_critic* r = *replay;
    if (!r)
        return;
    hwm_real* all[] = {r->z,     r->features, r->reward, r->linked,
                       r->ended, r->value,    r->target, r->weight};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(r);
    *replay = NULL;
}

void hwm_replay_critic_take(hwm_replay_critic* r, const hwm_starts* s) {
    const size_t B = (size_t)r->B, R = sizeof(hwm_real);
    memcpy(r->z, s->z, B * (size_t)r->Z * R);
    memcpy(r->reward, s->previous_reward, B * R);
    memcpy(r->linked, s->linked, B * R);
    memcpy(r->ended, s->ended, B * R);
}

// Features of the rows, and V of them.
static void evaluate(hwm_replay_critic* r, hwm_imagination* imagination) {
    nn_tape* tape = hwm_imagination_tape(imagination);
    nn_tape_reset(tape);
    nn_tape_record(tape, false);
    hwm_model_begin(r->set.model, tape);
    nn_var x = hwm_model_critic_input(r->set.model, tape, nn_wrap(tape, r->z, NULL, r->B, r->Z));
    nn_var v = hwm_critic_value(r->set.critic, tape, x);
    memcpy(r->features, x->x, (size_t)r->B * (size_t)r->F * sizeof *r->features);
    hwm_real lo, hi;
    hwm_model_reward_range(r->set.model, &lo, &hi);
    lo = lo < 0 ? lo : 0;
    hi = hi > 0 ? hi : 0;
    for (int i = 0; i < r->B; i++)
        r->value[i] = v->x[i] < lo ? lo : v->x[i] > hi ? hi : v->x[i];
    nn_tape_reset(tape);
    nn_tape_record(tape, true);
}

hwm_critic_batch hwm_replay_critic_batch(hwm_replay_critic* r, hwm_imagination* imagination,
                                         double scale) {
    const hwm_real gamma = (hwm_real)r->set.gamma, unit = 1 - gamma,
                   lambda = (hwm_real)r->set.lambda;
    const hwm_real* imagined = hwm_imagination_returns(imagination);  // row 0: of the starts
    const int* age = hwm_imagination_starts(imagination)->age;        // 0: not continued
    evaluate(r, imagination);
    for (int i = r->B - 1; i >= 0; i--) {
        r->weight[i] = r->linked[i];
        r->target[i] = age[i] == 0 ? imagined[i] : r->value[i];
        if (r->linked[i] == 0)
            continue;
        const hwm_real ahead = (1 - lambda) * r->value[i + 1] + lambda * r->target[i + 1];
        r->target[i] = unit * r->reward[i + 1] + gamma * (1 - r->ended[i + 1]) * ahead;
    }
    return (hwm_critic_batch){.rows = r->B,
                              .features = r->features,
                              .target = r->target,
                              .weight = r->weight,
                              .scale = scale};
}
