// Tables of the sections that belong to the experiment itself: types, defaults, ranges, help.
#include <stddef.h>

#include "experiment/replay_config.h"
#include "experiment/run_config.h"
#include "experiment/train_config.h"
#include "experiment/worker_config.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

#define RUN(field)      #field, HWM_CONFIG_INT, offsetof(hwm_run_config, field)
#define RUN_REAL(field) #field, HWM_CONFIG_REAL, offsetof(hwm_run_config, field)
static const hwm_config_field run_fields[] = {
    {"name", HWM_CONFIG_STRING, offsetof(hwm_run_config, name), "experiment", 1, 63, NULL,
     "name of the experiment and of its replay table"},
    {RUN(seed), "0", 0, 4294967295.0, NULL, "everything random in the run follows from it"},
    {RUN(max_env_steps), "20000", 0, 1e12, NULL,
     "the run ends after so many environment steps; 0: no limit"},
    {RUN(max_updates), "0", 0, 1e12, NULL, "the run ends after so many updates; 0: no limit"},
    {RUN_REAL(max_minutes), "0", 0, 1e6, NULL, "the run ends after so much wall time; 0: no limit"},
    {RUN_REAL(stop_return), "0", -1e9, 1e9, NULL,
     "the run ends when evaluation reaches this return; 0: never"},
    {RUN(stop_count), "3", 1, 1000, NULL, "... in so many evaluations in a row"},
    {"schedule", HWM_CONFIG_ENUM, offsetof(hwm_run_config, schedule), "async", 0, 0, "async|rounds",
     "rounds: workers and learner take turns, and the run repeats bit for bit"},
    {RUN(round_steps), "128", 1, 1e9, NULL,
     "rounds: environment steps of one round, all workers together"},
    {RUN_REAL(report_interval_s), "2", 0.1, 3600, NULL, "seconds between two lines of metrics"},
    {RUN_REAL(checkpoint_interval_s), "60", 1, 1e6, NULL, "seconds between two checkpoints"},
    {RUN(checkpoint_every_steps), "0", 0, 1e12, NULL,
     "keep a checkpoint step-N every so many environment steps; 0: none"},
    {RUN(workers), "1", 0, 1024, NULL, "local workers that hwm train starts"},
    {RUN(learner_threads), "1", 1, 256, NULL, "threads of the learner's matrix products"},
};
const hwm_config_table hwm_run_table = {"run", "what the run is and how long it lasts", run_fields,
                                        COUNT(run_fields)};

#define WORKER(field)      #field, HWM_CONFIG_INT, offsetof(hwm_worker_config, field)
#define WORKER_REAL(field) #field, HWM_CONFIG_REAL, offsetof(hwm_worker_config, field)
static const hwm_config_field worker_fields[] = {
    {WORKER(environments), "16", 1, 65536, NULL, "environments per worker"},
    {WORKER(threads), "1", 1, 256, NULL, "threads that step environments, per worker"},
    {WORKER(chunk_steps), "8", 1, 4096, NULL, "steps per chunk: the unit that is sent and stored"},
    {WORKER(window_chunks), "2", 1, 1e6, NULL,
     "chunks per environment that may wait for their acknowledgement; then stepping stops"},
    {WORKER(flush_ms), "0", 0, 600000, NULL,
     "send a chunk after so long even when it is not full; 0: only when full or at an episode's "
     "end"},
    {"apply", HWM_CONFIG_ENUM, offsetof(hwm_worker_config, apply), "chunk", 0, 0, "chunk|episode",
     "where newer parameters take over: at the next chunk of all environments, or at each one's "
     "next episode"},
    {WORKER_REAL(explore_std), "0.3", 0, 10, NULL,
     "continuous actions: std of the noise added in training and imagination"},
    {WORKER_REAL(explore_eps), "0.05", 0, 1, NULL,
     "sign actions: p(+1) = (1 + a (1 - eps)) / 2 in training and imagination; one of n: "
     "p_k = (1 - eps) (1 + a_k) / sum (1 + a) + eps / n"},
    {"prefill", HWM_CONFIG_ENUM, offsetof(hwm_worker_config, prefill), "controller", 0, 0,
     "controller|noise|naive", "what acts before the first trained parameters; naive: rule.naive"},
    {WORKER_REAL(prefill_noise_std), "1", 0, 10, NULL, "prefill noise: its std"},
    {WORKER_REAL(explore_correlation), "0.9", 0, 0.9999, NULL,
     "prefill noise: its correlation from step to step"},
    {WORKER(burn_in_steps), "0", 0, 1e6, NULL, "steps of zero action at an episode's start"},
};
const hwm_config_table hwm_worker_table = {"worker", "how workers step and explore", worker_fields,
                                           COUNT(worker_fields)};

#define REPLAY(field)      #field, HWM_CONFIG_INT, offsetof(hwm_experience_config, field)
#define REPLAY_REAL(field) #field, HWM_CONFIG_REAL, offsetof(hwm_experience_config, field)
static const hwm_config_field replay_fields[] = {
    {REPLAY(capacity_steps), "1000000", 100, 1e12, NULL, "steps kept; the oldest leave first"},
    {REPLAY(capacity_bytes), "0", 0, 1e15, NULL, "bytes kept; 0: bounded by steps only"},
    {"compress", HWM_CONFIG_ENUM, offsetof(hwm_experience_config, compress), "pixels", 0, 0,
     "none|pixels|all",
     "columns that workers compress with zstd, step by step: none; u8 columns of at least 256 "
     "bytes a step; "
     "columns of any type that wide"},
    {REPLAY(max_times_sampled), "0", 0, 65535, NULL,
     "a start of a sequence is drawn so often at most; 0: without limit"},
    {REPLAY_REAL(slack_updates), "4", 1, 1e6, NULL,
     "updates that the learner may be ahead of or behind the ratio"},
    {"selector", HWM_CONFIG_ENUM, offsetof(hwm_experience_config, selector), "uniform", 0, 0,
     "uniform|prioritised|newest|oldest|online", "how sequences are drawn"},
    {REPLAY_REAL(fraction_recent), "0", 0, 1, NULL, "share drawn from the newest recent_steps"},
    {REPLAY(recent_steps), "20000", 1, 1e12, NULL, "how many steps count as recent"},
    {REPLAY(terminal_back_min), "0", 0, 65536, NULL,
     "what fraction_terminal draws ends so many decisions before the terminal, uniform from min"},
    {REPLAY(terminal_back_max), "0", 0, 65536, NULL, "... to max; 0: it ends with the terminal"},
};
const hwm_config_table hwm_experience_table = {"replay", "the table of experience on the server",
                                               replay_fields, COUNT(replay_fields)};

#define IMAGINATION(field)      #field, HWM_CONFIG_INT, offsetof(hwm_imagination_config, field)
#define IMAGINATION_REAL(field) #field, HWM_CONFIG_REAL, offsetof(hwm_imagination_config, field)
static const hwm_config_field imagination_fields[] = {
    {"mode", HWM_CONFIG_ENUM, offsetof(hwm_imagination_config, mode), "explicit", 0, 0,
     "explicit|latent",
     "explicit: the rule is carried through imagined rollouts and gets its gradient by going back "
     "through them; latent: a recurrent agent imagines controller and environment together, its "
     "action is the weight update"},
    {"gradient", HWM_CONFIG_ENUM, offsetof(hwm_imagination_config, gradient), "pathwise", 0, 0,
     "pathwise|reinforce",
     "pathwise: through the model; reinforce: from the log probability of what was drawn"},
    {"normalise", HWM_CONFIG_ENUM, offsetof(hwm_imagination_config, normalise), "none", 0, 0,
     "none|percentile",
     "percentile: returns count in units of their range; entropy then needs about 3e-4"},
    {IMAGINATION(batch), "128", 4, 65536, NULL, "imagined rollouts per update"},
    {IMAGINATION(horizon), "15", 1, 1000, NULL, "imagined decisions per update"},
    {IMAGINATION_REAL(fraction_continued), "0", 0, 1, NULL,
     "probability that a rollout goes on from the previous imagination"},
    {IMAGINATION(continued_age_steps), "300", 1, 1e9, NULL,
     "a rollout is not continued beyond so many imagined decisions"},
    {"keep_first", HWM_CONFIG_BOOL, offsetof(hwm_imagination_config, keep_first), "false", 0, 0,
     NULL, "true: starts at first observations are never replaced by continued rollouts"},
    {IMAGINATION_REAL(fraction_first), "0.25", 0, 1, NULL,
     "share of new starts at recorded first observations, with a fresh W_0"},
    {IMAGINATION(starts_per_sequence), "1", 1, 1024, NULL,
     "starts from each sampled sequence, its last rows; over them the rule is replayed once"},
    {IMAGINATION_REAL(fraction_fresh), "0", 0, 1, NULL,
     "share of the other new starts that take a fresh W_0 instead of the stored weights"},
    {IMAGINATION_REAL(fraction_recent), "-1", -1, 1, NULL,
     "share of the new starts from the newest replay.recent_steps; -1: as replay.fraction_recent"},
    {IMAGINATION_REAL(fraction_terminal), "0", 0, 1, NULL,
     "share of the new starts that lie before a terminal, see replay.terminal_back_min"},
    {IMAGINATION_REAL(context_swap), "0", 0, 1, NULL,
     "probability per decision that a rollout takes the context of another one"},
    {IMAGINATION_REAL(clamp_margin), "0", 0, 10, NULL,
     "imagined observations are kept in the replayed range, widened by this share of it"},
    {IMAGINATION_REAL(clamp_quantile), "0", 0, 0.1, NULL,
     "the range goes from this quantile of the replayed values to 1 minus it; 0: all of them"},
    {IMAGINATION_REAL(entropy), "0.003", 0, 100, NULL, "weight of the entropy of (1 + a) / 2"},
    {IMAGINATION_REAL(saturation), "0", 0, 100, NULL,
     "weight of mean relu(|s| - 1.5), s the output's pre-activation"},
};
const hwm_config_table hwm_imagination_table = {"imagination", "rollouts inside the world model",
                                                imagination_fields, COUNT(imagination_fields)};

#define TRAIN(field)      #field, HWM_CONFIG_INT, offsetof(hwm_train_config, field)
#define TRAIN_REAL(field) #field, HWM_CONFIG_REAL, offsetof(hwm_train_config, field)
static const hwm_config_field train_fields[] = {
    {TRAIN(prefill_steps), "1000", 10, 1e9, NULL, "environment steps before the first update"},
    {TRAIN(fit_updates), "0", 0, 1e6, NULL,
     "rule.kind network: updates that fit it to the episodes of rule.naive before imagination; 0: "
     "it starts at random"},
    {TRAIN(warmup_updates), "300", 0, 1e6, NULL,
     "model updates on the prefill before the first behaviour update"},
    {TRAIN_REAL(env_steps_per_update), "8", 0, 1e6, NULL,
     "environment steps per update; 0: train as fast as possible"},
    {TRAIN(model_updates), "1", 1, 1000, NULL, "model updates per behaviour update"},
    {TRAIN_REAL(gamma), "0.997", 0, 1, NULL, "discount per decision"},
    {TRAIN_REAL(lambda), "0.95", 0, 1, NULL, "mixing of the lambda-return"},
    {TRAIN_REAL(lr), "0.003", 0, 1, NULL, "learning rate of the controller"},
    {TRAIN_REAL(lr_final), "-1", -1, 1, NULL,
     "learning rate at run.max_env_steps, reached linearly; -1: constant"},
    {TRAIN_REAL(clip_norm), "1", 0, 1e9, NULL, "global gradient norm of the controller; 0: none"},
    {"critic", HWM_CONFIG_ENUM, offsetof(hwm_train_config, critic), "plain", 0, 0, "plain|twohot",
     "plain: one number, squared error; twohot: a distribution over 255 bins, cross-entropy "
     "against "
     "return and slow copy"},
    {TRAIN_REAL(critic_lr), "0.001", 0, 1, NULL, "learning rate of the critic"},
    {TRAIN_REAL(slow_rate), "0.02", 0, 1, NULL, "rate at which the slow critic follows"},
    {TRAIN_REAL(replay_critic), "0", 0, 100, NULL,
     "weight of the critic's loss on the returns of replayed rewards along the starts of a "
     "sequence, from the imagined return of its last one back; wants "
     "imagination.starts_per_sequence >= 2"},
    {TRAIN(critic_layers), "2", 1, 8, NULL, "hidden layers of the critic"},
    {TRAIN(critic_units), "64", 1, 4096, NULL, "hidden units of the critic"},
    {TRAIN(publish_every_updates), "4", 1, 1e6, NULL, "updates between two published versions"},
    {TRAIN(updates_in_flight), "2", 1, 64, NULL, "batches that are fetched ahead"},
    {TRAIN(versions_bytes), "67108864", 4096, 1e12, NULL,
     "bytes of the controller's earlier versions that the learner keeps, to replay stored weights "
     "with; others are fetched again"},
};
const hwm_config_table hwm_train_table = {"train", "the training loop and its optimisers",
                                          train_fields, COUNT(train_fields)};

#define EVALUATION(field) #field, HWM_CONFIG_INT, offsetof(hwm_evaluation_config, field)
static const hwm_config_field evaluation_fields[] = {
    {EVALUATION(every_updates), "100", 1, 1e9, NULL, "updates between two evaluations"},
    {EVALUATION(episodes), "20", 1, 100000, NULL, "episodes of one evaluation"},
    {EVALUATION(confirm_episodes), "60", 1, 100000, NULL,
     "further episodes before a result counts as the best"},
    {EVALUATION(seed), "4242", 0, 4294967295.0, NULL, "seed of the evaluation episodes"},
    {EVALUATION(lease_ms), "60000", 100, 1e7, NULL,
     "a worker that has not answered by then loses the task to another"},
    {"on_workers", HWM_CONFIG_BOOL, offsetof(hwm_evaluation_config, on_workers), "false", 0, 0,
     NULL, "workers evaluate; false: the learner does, between two updates"},
};
const hwm_config_table hwm_evaluation_table = {"evaluation", "how the best parameters are found",
                                               evaluation_fields, COUNT(evaluation_fields)};
