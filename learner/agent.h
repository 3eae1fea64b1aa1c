// data path  [8] learner
//
// Agent: everything that is trained, and the two updates. World model and behaviour are separate
// parameter sets with separate calls, so that they can be reduced over processes or run
// concurrently.
//
//   controller (phi)   world model   critic + slow copy   statistics of the replay
//
// agent.kind es has a controller and its optimiser, recurrent agents have `latent` and what acts in
// phi, agent.kind random has phi; everything else is NULL then.
//
// Threads: one owner.
#ifndef HWM_LEARNER_AGENT_H
#define HWM_LEARNER_AGENT_H

#include "experiment/experiment.h"
#include "imagination.h"
#include "model/dreamer.h"

struct hwm_open_loop;
struct hwm_ranges;
struct hwm_latent;
struct hwm_replay_critic;
typedef struct hwm_agent {
    const hwm_experiment* experiment;  // borrowed
    hwm_env_spec spec;
    hwm_controller* controller;  // reads scaled observations
    nn_params* phi;
    nn_optim* phi_optim;
    hwm_model* model;
    hwm_critic* critic;
    struct hwm_latent* latent;
    hwm_imagination* imagination;
    struct hwm_replay_critic* replay_critic;  // NULL: none
    // of all rows seen; moments of one-step deltas since the last refresh
    hwm_replay_statistics statistics;
    double *delta_sum, *delta_square;  // (O)
    double *obs_sum, *obs_square;      // (O) of the observations themselves
    double delta_count, obs_count;
    struct hwm_ranges* ranges;  // quantiles instead of extremes; NULL: extremes
    int64_t model_updates, behaviour_updates, skipped;
    struct hwm_open_loop* open_loop;                            // newest measurement
    double seconds_model, seconds_imagination, seconds_critic;  // since create
} hwm_agent;

typedef struct hwm_agent_report {
    hwm_model_losses model;
    hwm_imagination_report imagination;
    double critic_loss, replay_critic_loss, gradient_norm;
    hwm_dreamer_losses latent;
    struct {
        double mean, best, sigma;  // return of the newest generation's individuals
        double individuals_per_s;
        bool known;
    } evolution;
} hwm_agent_report;

// spec as hwm_env_describe gives it. Caller owns, free with hwm_agent_destroy.
hwm_status hwm_agent_create(hwm_agent** out, const hwm_experiment* experiment,
                            const hwm_env_spec* spec, hwm_error* err);
void hwm_agent_destroy(hwm_agent** agent);

// Take a batch into the statistics of the replay.
void hwm_agent_look(hwm_agent* agent, const hwm_sequences* batch);
// Statistics into the model; into phi's input.delta_scale too where `controller` (after the
// prefill, once).
void hwm_agent_refresh(hwm_agent* agent, bool controller);
// One update of the world model on `batch`. HWM_ENUMERIC: skipped.
hwm_status hwm_agent_update_model(hwm_agent* agent, const hwm_sequences* batch,
                                  hwm_agent_report* report, hwm_error* err);
// Does this agent learn from sampled experience?
bool hwm_agent_samples(const hwm_agent* agent);
// Rollouts from hwm_imagination_starts(agent->imagination), which the caller filled, then phi and
// critic. progress in [0, 1] of the run, for the learning rate.
hwm_status hwm_agent_update_behaviour(hwm_agent* agent, double progress, hwm_agent_report* report,
                                      hwm_error* err);

#endif
