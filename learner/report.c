#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/events.h"
#include "base/json.h"
#include "base/log.h"
#include "latent.h"
#include "open_loop.h"

// The numbers of a line: key, group of the TensorBoard tag, form, and what README's glossary says.
// A number that is not known yet is left out of its line.
typedef enum row {
    WALL_S,
    ENV_STEPS,
    UPDATES,
    MODEL_UPDATES,
    ENV_STEPS_PER_S,
    UPDATES_PER_S,
    ENV_STEPS_PER_UPDATE,
    VERSION,
    VERSION_LAG,
    WORKERS,
    EPISODES,
    REPLAY_STEPS,
    RETURN_MEAN,
    EVAL_MEAN,
    EVAL_BEST,
    BEST_ENV_STEPS,
    EVAL_ENV_STEPS,
    IMAGINED_RETURN,
    REAL_RETURN,
    OPEN_LOOP,  // per horizon: of the model, of "nothing changes", of the reward
    OPEN_LOOP_LAST = OPEN_LOOP + 3 * HWM_OPEN_LOOP_HORIZONS - 1,
    OPEN_LOOP_CONTEXT,
    CONTINUE_AT_TERMINALS,
    CONTINUE_ELSEWHERE,
    CONTINUE_CALIBRATION,
    REWARD_BIAS,
    REWARD_MISSING,
    MODEL_LOSS,
    MODEL_OBS_LOSS,
    MODEL_REWARD_LOSS,
    MODEL_CONTINUE_LOSS,
    MODEL_GRADIENT_NORM,
    ACTOR_LOSS,
    CRITIC_LOSS,
    REPLAY_CRITIC_LOSS,
    GRADIENT_NORM,
    ENTROPY,
    SATURATION,
    WEIGHT_ABS,
    UPDATE_RELATIVE,
    CONTINUED,
    POPULATION_MEAN,
    POPULATION_BEST,
    SIGMA,
    INDIVIDUALS_PER_S,
    SKIPPED_UPDATES,
    LOST_SEQUENCES,
    REMEMBERED,
    WAIT_SHARE,
    MODEL_SHARE,
    IMAGINATION_SHARE,
    CRITIC_SHARE,
    MODEL_GFLOPS,
    ROWS
} row;

typedef struct row_spec {
    const char* key;
    const char* group;
    bool whole;
    const char* help;
} row_spec;

static const row_spec rows[ROWS] = {
    [WALL_S] = {"wall_s", "time", false, "seconds since the run began, over all its processes"},
    [ENV_STEPS] = {"env_steps", "train", true, "environment steps so far, action repeats counted"},
    [UPDATES] = {"updates", "train", true, "behaviour updates so far"},
    [MODEL_UPDATES] = {"model_updates", "train", true, "world-model updates so far"},
    [ENV_STEPS_PER_S] = {"env_steps_per_s", "time", false, "environment steps per second"},
    [UPDATES_PER_S] = {"updates_per_s", "time", false, "behaviour updates per second"},
    [ENV_STEPS_PER_UPDATE] = {"env_steps_per_update", "train", false,
                              "the ratio as realised since the line before"},
    [VERSION] = {"version", "train", true, "newest published version of the controller"},
    [VERSION_LAG] = {"version_lag", "train", false,
                     "published versions that the workers have not applied yet, mean"},
    [WORKERS] = {"workers", "train", true, "workers alive"},
    [EPISODES] = {"episodes", "train", true, "training episodes finished"},
    [REPLAY_STEPS] = {"replay_steps", "train", true, "steps that the table holds"},
    [RETURN_MEAN] = {"return_mean", "train", false,
                     "mean return of the newest training episodes, exploration included"},
    [EVAL_MEAN] = {"eval_mean", "eval", false, "newest evaluation, without exploration"},
    [EVAL_BEST] = {"eval_best", "eval", false,
                   "the best evaluation, confirmed on further episodes"},
    [BEST_ENV_STEPS] = {"best_env_steps", "train", true, "environment steps when it was found"},
    [EVAL_ENV_STEPS] = {"eval_env_steps", "eval", true,
                        "environment steps of evaluations so far; none is trained on"},
    [IMAGINED_RETURN] = {"imagined_return", "train", false,
                         "discounted return from an episode's first observation, as imagined with "
                         "the same parameters as `real_return`; their gap is the first thing to "
                         "look at. Too low early on, when the critic has not caught up"},
    [REAL_RETURN] = {"real_return", "train", false,
                     "the same as measured in evaluation, which a time limit ends and imagination "
                     "does not: a controller that would earn 1 per step for ever is imagined at "
                     "333 and measured at 259 with gamma 0.997 and 500 steps"},
    [OPEN_LOOP] = {"open_loop_1", "train", false,
                   "the world model's mean squared error after 1 decision along recorded actions, "
                   "in units of one-step changes; `open_loop_by_dimension` has each observation's"},
    {"open_loop_1_nothing", "train", false, "the same of a model that says: nothing changes"},
    {"open_loop_1_reward", "train", false, "mean squared error of the reward, 1 decision ahead"},
    {"open_loop_5", "train", false, "as `open_loop_1`, after 5 decisions"},
    {"open_loop_5_nothing", "train", false, "as `open_loop_1_nothing`, after 5 decisions"},
    {"open_loop_5_reward", "train", false, "as `open_loop_1_reward`, after 5 decisions"},
    {"open_loop_15", "train", false, "as `open_loop_1`, after 15 decisions"},
    {"open_loop_15_nothing", "train", false, "as `open_loop_1_nothing`, after 15 decisions"},
    {"open_loop_15_reward", "train", false, "as `open_loop_1_reward`, after 15 decisions"},
    [OPEN_LOOP_CONTEXT] = {"open_loop_context", "train", false,
                           "mean squared distance of the contexts that two halves of an episode's "
                           "transitions give, in units of their variance over episodes; 2: it "
                           "knows nothing of the episode"},
    [CONTINUE_AT_TERMINALS] = {"continue_at_terminals", "train", false,
                               "mean predicted continue, one step ahead, where the episode truly "
                               "ended; 0 is right"},
    [CONTINUE_ELSEWHERE] = {"continue_elsewhere", "train", false,
                            "the same where it went on; 1 is right"},
    [CONTINUE_CALIBRATION] = {"continue_calibration", "train", false,
                              "mean |prediction - frequency| over ten bins of the predicted "
                              "continue, by how many fall into each"},
    [REWARD_BIAS] = {"reward_bias", "train", false,
                     "mean predicted reward minus mean reward, one step ahead"},
    [REWARD_MISSING] = {"reward_missing", "train", false,
                        "share of the rewards' variance that is not predicted"},
    [MODEL_LOSS] = {"model_loss", "loss", false, "of the newest world-model update, in all"},
    [MODEL_OBS_LOSS] = {"model_obs_loss", "loss", false, "its part for observations"},
    [MODEL_REWARD_LOSS] = {"model_reward_loss", "loss", false, "its part for rewards"},
    [MODEL_CONTINUE_LOSS] = {"model_continue_loss", "loss", false, "its part for episode ends"},
    [MODEL_GRADIENT_NORM] = {"model_gradient_norm", "loss", false, "its gradient before clipping"},
    [ACTOR_LOSS] = {"actor_loss", "loss", false, "of the controller's newest update"},
    [CRITIC_LOSS] = {"critic_loss", "loss", false, "of the critic's newest update"},
    [REPLAY_CRITIC_LOSS] = {"replay_critic_loss", "loss", false,
                            "the same on replayed rewards, where `train.replay_critic` is set"},
    [GRADIENT_NORM] = {"gradient_norm", "loss", false, "the controller's gradient before clipping"},
    [ENTROPY] = {"entropy", "train", false, "of imagined actions"},
    [SATURATION] = {"saturation", "train", false, "share of imagined actions beyond 0.98 in size"},
    [WEIGHT_ABS] = {"weight_abs", "train", false, "mean absolute weight after an imagined rollout"},
    [UPDATE_RELATIVE] = {"update_relative", "train", false,
                         "how much one imagined step changes the weights, relative to them"},
    [CONTINUED] = {"continued", "train", false,
                   "share of rollouts that went on from the previous imagination"},
    [POPULATION_MEAN] = {"population_mean", "train", false,
                         "evolution: mean return of the newest generation's individuals"},
    [POPULATION_BEST] = {"population_best", "train", false, "... of the best of them"},
    [SIGMA] = {"sigma", "train", false, "... std of their perturbations"},
    [INDIVIDUALS_PER_S] = {"individuals_per_s", "time", false,
                           "... individuals evaluated per second, from one update to the next"},
    [SKIPPED_UPDATES] = {"skipped_updates", "train", true,
                         "updates dropped because a number was not finite"},
    [LOST_SEQUENCES] = {"lost_sequences", "train", true,
                        "sequences left out because their parameters could not be had"},
    [REMEMBERED] = {"remembered_sequences", "train", false,
                    "share of the sequences that began with a latent of an earlier update"},
    [WAIT_SHARE] = {"wait_share", "time", false,
                    "share of the learner's time spent waiting for experience"},
    [MODEL_SHARE] = {"model_share", "time", false, "share in world-model updates"},
    [IMAGINATION_SHARE] = {"imagination_share", "time", false, "share in imagined rollouts"},
    [CRITIC_SHARE] = {"critic_share", "time", false, "share in critic updates"},
    [MODEL_GFLOPS] = {"model_gflops", "time", false,
                      "GFLOP/s of the world-model updates while they run"},
};

struct hwm_report {
    FILE* file;
    double value[ROWS];  // of the line at hand; NaN: not known
    hwm_events* events;
    bool events_failed;  // said once
    float* phi;          // scratch
    double before_s;
    int64_t env_steps, updates, model_updates;
    double waited_s, model_s, imagination_s, critic_s;
};

hwm_status hwm_report_create(hwm_report** out, const char* run_dir, int64_t resume_step,
                             hwm_error* err) {
    *out = NULL;
    char path[4096];
    snprintf(path, sizeof path, "%s/metrics.jsonl", run_dir);
    FILE* f = fopen(path, "a");
    if (!f)
        return hwm_fail(err, HWM_EIO, "%s: %s", path, strerror(errno));
    hwm_report* r = calloc(1, sizeof *r);
    if (!r) {
        fclose(f);
        return hwm_fail(err, HWM_ENOMEM, "no memory for metrics");
    }
    r->file = f;
    r->before_s = hwm_clock_s();
    r->env_steps = resume_step > 0 ? resume_step : 0;
    hwm_error why = {0};
    if (hwm_events_create(&r->events, run_dir, resume_step, &why) == HWM_ENOMEM) {
        hwm_report_destroy(&r);
        return hwm_fail(err, HWM_ENOMEM, "%s", why.text);
    }
    if (!r->events)
        hwm_log(HWM_LOG_WARN, "report", "no event file", "reason=\"%s\"", why.text);
    *out = r;
    return HWM_OK;
}

void hwm_report_destroy(hwm_report** report) {
    if (!report || !*report)
        return;
    fclose((*report)->file);
    hwm_events_destroy(&(*report)->events);
    free((*report)->phi);
    free(*report);
    *report = NULL;
}

// Means over the observation.
static void take_open_loop(double value[ROWS], const hwm_agent* a) {
    const hwm_open_loop* m = a->open_loop;
    if (!m || !m->known)
        return;
    for (int k = 0; k < HWM_OPEN_LOOP_HORIZONS; k++) {
        double model = 0, nothing = 0;
        for (int j = 0; j < a->spec.obs_dim; j++) {
            model += m->model[k][j] / a->spec.obs_dim;
            nothing += m->nothing[k][j] / a->spec.obs_dim;
        }
        value[OPEN_LOOP + 3 * k] = model;
        value[OPEN_LOOP + 3 * k + 1] = nothing;
        value[OPEN_LOOP + 3 * k + 2] = m->reward[k];
    }
    if (a->experiment->model.terminals) {
        value[CONTINUE_AT_TERMINALS] = m->continue_at_terminals;
        value[CONTINUE_ELSEWHERE] = m->continue_elsewhere;
        value[CONTINUE_CALIBRATION] = m->continue_calibration;
    }
    value[OPEN_LOOP_CONTEXT] = m->context;
    value[REWARD_BIAS] = m->reward_bias;
    value[REWARD_MISSING] = m->reward_missing;
}

// What the newest update of world model and imagination said.
static void take_imagination(double v[ROWS], const hwm_progress_state* s, const hwm_agent* a,
                             const hwm_agent_report* u) {
    if (s->updates > 0)
        v[IMAGINED_RETURN] =
            u->imagination.start_return * a->spec.action_repeat / (1 - a->experiment->train.gamma);
    v[MODEL_LOSS] = u->model.total;
    v[MODEL_OBS_LOSS] = u->model.obs;
    v[MODEL_REWARD_LOSS] = u->model.reward;
    v[MODEL_CONTINUE_LOSS] = u->model.cont;
    v[MODEL_GRADIENT_NORM] = u->model.gradient_norm;
    v[ACTOR_LOSS] = u->imagination.actor_loss;
    v[CRITIC_LOSS] = u->critic_loss;
    if (a->replay_critic)
        v[REPLAY_CRITIC_LOSS] = u->replay_critic_loss;
    v[GRADIENT_NORM] = u->gradient_norm;
    v[ENTROPY] = u->imagination.entropy;
    v[SATURATION] = u->imagination.saturation;
    v[WEIGHT_ABS] = u->imagination.weight_abs;
    v[UPDATE_RELATIVE] = u->imagination.update_relative;
    v[CONTINUED] = u->imagination.continued;
}

// Mean of the newest training episodes of all workers, their number, how far behind their
// parameters are, the table's size.
static void take_server(double value[ROWS], const hwm_report_line* line) {
    value[REPLAY_STEPS] = (double)line->counters->inserted_steps;
    hwm_json* stats = line->stats ? hwm_json_parse(line->stats, strlen(line->stats)) : NULL;
    if (!stats)
        return;
    double sum = 0, n = 0, lag = 0, alive = 0, episodes = 0;
    const hwm_json* workers = hwm_json_at(stats, "workers");
    for (size_t i = 0; i < hwm_json_size(workers, ""); i++) {
        const hwm_json* worker = hwm_json_member(workers, i);
        const hwm_json* returns = hwm_json_at(worker, "recent_returns");
        for (size_t k = 0; k < hwm_json_size(returns, ""); k++) {
            sum += hwm_json_number(hwm_json_member(returns, k), "", 0);
            n += 1;
        }
        episodes += hwm_json_number(worker, "episodes", 0);
        if (!hwm_json_true(worker, "alive"))
            continue;
        alive += 1;
        lag += hwm_json_number(worker, "version_lag", 0);
    }
    value[WORKERS] = alive;
    value[EPISODES] = episodes;
    value[RETURN_MEAN] = sum / n;  // NaN without episodes, as the lag without workers
    value[VERSION_LAG] = lag / alive;
    const hwm_json* tables = hwm_json_at(stats, "replay.tables");
    for (size_t i = 0; i < hwm_json_size(tables, ""); i++) {
        const hwm_json* table = hwm_json_member(tables, i);
        if (strcmp(hwm_json_text(table, "name", ""), line->agent->experiment->run.name) == 0)
            value[REPLAY_STEPS] = hwm_json_number(table, "steps", NAN);
    }
    hwm_json_free(&stats);
}

static void write_line(const hwm_report* r, const hwm_report_line* line) {
    hwm_json_writer w = hwm_json_writer_of(r->file, 0, 7);
    hwm_json_open(&w, NULL, '{');
    hwm_json_put_text(&w, "phase", line->phase);
    for (int i = 0; i < ROWS; i++) {
        if (!isfinite(r->value[i]))
            continue;
        if (rows[i].whole)
            hwm_json_put_whole(&w, rows[i].key, (int64_t)r->value[i]);
        else
            hwm_json_put_number(&w, rows[i].key, r->value[i]);
    }
    const hwm_open_loop* m = line->agent->open_loop;
    if (m && m->known) {
        hwm_json_open(&w, "open_loop_by_dimension", '{');
        for (int k = 0; k < HWM_OPEN_LOOP_HORIZONS; k++) {
            hwm_json_open(&w, rows[OPEN_LOOP + 3 * k].key, '[');
            for (int j = 0; j < line->agent->spec.obs_dim; j++)
                hwm_json_put_number(&w, NULL, m->model[k][j]);
            hwm_json_close(&w);
        }
        hwm_json_close(&w);
    }
    hwm_json_close(&w);
    fputc('\n', r->file);
    fflush(r->file);
}

// The same numbers as TensorBoard scalars, and how the coefficients of the rule are distributed.
static void write_events(hwm_report* r, const hwm_report_line* line) {
    if (!r->events)
        return;
    const int64_t at = line->state->env_steps;
    hwm_status status = HWM_OK;
    for (int i = 0; i < ROWS && status == HWM_OK; i++) {
        char tag[128];
        snprintf(tag, sizeof tag, "%s/%s", rows[i].group, rows[i].key);
        if (isfinite(r->value[i]))
            status = hwm_events_scalar(r->events, at, tag, (float)r->value[i]);
    }
    const nn_params* phi = line->agent->phi;
    if (!r->phi)
        r->phi = malloc((phi->list.count + 1) * sizeof *r->phi);
    if (r->phi)
        nn_params_to_float(phi, r->phi);
    for (int i = 0; r->phi && i < phi->list.n && status == HWM_OK; i++) {
        char tag[128];
        snprintf(tag, sizeof tag, "rule/%s", phi->list.entry[i].spec.name);
        status = hwm_events_histogram(r->events, at, tag, r->phi + phi->list.entry[i].offset,
                                      hwm_tensor_count(&phi->list.entry[i].spec));
    }
    if (status == HWM_OK)
        status = hwm_events_flush(r->events);
    if (status == HWM_OK || r->events_failed)
        return;
    r->events_failed = true;
    hwm_log(HWM_LOG_WARN, "report", "event file", "reason=\"%s\"", hwm_status_text(status));
}

void hwm_report_write(hwm_report* r, const hwm_report_line* line) {
    const double now = hwm_clock_s(), span = now - r->before_s > 1e-3 ? now - r->before_s : 1e-3;
    const hwm_progress_state* s = line->state;
    const hwm_agent* a = line->agent;
    const hwm_agent_report* u = line->update;
    const double updates = (double)(s->updates - r->updates);
    double* v = r->value;
    for (int i = 0; i < ROWS; i++)
        v[i] = NAN;
    v[WALL_S] = line->wall_s;
    v[ENV_STEPS] = (double)s->env_steps;
    v[UPDATES] = (double)s->updates;
    v[MODEL_UPDATES] = (double)a->model_updates;
    v[ENV_STEPS_PER_S] = (double)(s->env_steps - r->env_steps) / span;
    v[UPDATES_PER_S] = updates / span;
    if (updates > 0)
        v[ENV_STEPS_PER_UPDATE] = (double)(s->env_steps - r->env_steps) / updates;
    v[VERSION] = (double)line->counters->version;
    v[EVAL_MEAN] = line->eval_mean;
    v[EVAL_BEST] = s->best_mean;
    v[BEST_ENV_STEPS] = (double)s->best_env_steps;
    v[EVAL_ENV_STEPS] = (double)s->eval_env_steps;
    v[REAL_RETURN] = line->eval_discounted;
    if (a->imagination)
        take_imagination(v, s, a, u);
    if (a->latent) {
        const hwm_dreamer_losses* d = &u->latent;
        v[MODEL_LOSS] = d->model.total;
        v[MODEL_OBS_LOSS] = d->model.obs;
        v[MODEL_REWARD_LOSS] = d->model.reward;
        v[MODEL_CONTINUE_LOSS] = d->model.cont;
        v[MODEL_GRADIENT_NORM] = d->model_norm;
        v[ACTOR_LOSS] = d->policy;
        v[CRITIC_LOSS] = d->value;
        v[ENTROPY] = d->entropy;
        v[GRADIENT_NORM] = d->behaviour_norm;
        v[REMEMBERED] = hwm_recall_share(&a->latent->recall);
    }
    if (u->evolution.known) {
        v[POPULATION_MEAN] = u->evolution.mean;
        v[POPULATION_BEST] = u->evolution.best;
        v[SIGMA] = u->evolution.sigma;
        v[INDIVIDUALS_PER_S] = u->evolution.individuals_per_s;
        v[GRADIENT_NORM] = u->gradient_norm;
    }
    v[SKIPPED_UPDATES] = (double)a->skipped;
    v[LOST_SEQUENCES] = (double)line->counters->lost_sequences;
    if (a->model)
        v[REMEMBERED] = hwm_model_remembered(a->model);
    // where the time goes, as shares of the interval
    v[WAIT_SHARE] = (line->counters->waited_s - r->waited_s) / span;
    v[MODEL_SHARE] = (a->seconds_model - r->model_s) / span;
    v[IMAGINATION_SHARE] = (a->seconds_imagination - r->imagination_s) / span;
    v[CRITIC_SHARE] = (a->seconds_critic - r->critic_s) / span;
    if (a->seconds_model > r->model_s)  // while it was at it
        v[MODEL_GFLOPS] = u->model.flops * (double)(a->model_updates - r->model_updates) /
                          (a->seconds_model - r->model_s) * 1e-9;
    take_open_loop(v, a);
    take_server(v, line);
    write_line(r, line);
    write_events(r, line);
    r->before_s = now;
    r->env_steps = s->env_steps;
    r->updates = s->updates;
    r->model_updates = a->model_updates;
    r->waited_s = line->counters->waited_s;
    r->model_s = a->seconds_model;
    r->imagination_s = a->seconds_imagination;
    r->critic_s = a->seconds_critic;
}
