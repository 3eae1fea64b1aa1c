// hwm train: one command from an experiment file to a judged rule. Starts server, learner and
// workers on this machine, shows how it goes, and ends with the evaluation of the best parameters.
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "cluster.h"
#include "command.h"
#include "commands.h"
#include "display.h"
#include "follow.h"
#include "judge.h"
#include "progress.h"
#include "watch.h"

typedef struct train_options {
    const char* run_dir;
    int64_t workers;
    int64_t seed;
    hwm_text_list set;
    int64_t max_env_steps;
    int64_t episodes;
    bool deterministic;
    bool no_evaluation;
    bool json;
    bool print_config;
} train_options;

typedef struct train {
    const train_options* options;
    const char* file;
    hwm_text_list set;  // --set and what the other options stand for
    char set_text[4][64];
    hwm_experiment* experiment;
    hwm_run_dir dir;
    hwm_cluster cluster;
    hwm_display display;
    hwm_progress progress;
    hwm_watch* watch;
    hwm_follow* follow;
    double started_s;
    double previous_wall_s;  // of the processes this run has had before
} train;

// Options that are short forms of a field become an override like any other.
static void add_override(train* t, int slot, const char* key, int64_t value) {
    snprintf(t->set_text[slot], sizeof t->set_text[slot], "%s=%lld", key, (long long)value);
    if (t->set.n < HWM_TEXT_LIST_MAX) {
        t->set.v[t->set.n++] = t->set_text[slot];
    }
}

static hwm_status resolve(train* t, hwm_error* err) {
    const train_options* o = t->options;
    t->set = o->set;
    if (o->seed >= 0) {
        add_override(t, 0, "run.seed", o->seed);
    }
    if (o->max_env_steps > 0) {
        add_override(t, 1, "run.max_env_steps", o->max_env_steps);
    }
    if (o->workers > 0) {
        add_override(t, 2, "run.workers", o->workers);
    }
    if (o->deterministic && t->set.n < HWM_TEXT_LIST_MAX) {
        t->set.v[t->set.n++] = "run.schedule=rounds";
    }
    return hwm_experiment_load(&t->experiment, t->file, NULL, t->set.v, t->set.n, err);
}

static hwm_status open_run_dir(train* t, hwm_error* err) {
    const train_options* o = t->options;
    const hwm_run_config* run = &t->experiment->run;
    if (run->workers < 1 || run->workers > HWM_CLUSTER_WORKERS_MAX) {
        return hwm_fail(err, HWM_EINVAL,
                        "run.workers is %lld: `hwm train` starts 1 to %d workers; more "
                        "join from other machines",
                        (long long)run->workers, HWM_CLUSTER_WORKERS_MAX);
    }
    char path[HWM_PATH_MAX];
    if (o->run_dir) {
        snprintf(path, sizeof path, "%s", o->run_dir);
    } else {
        snprintf(path, sizeof path, "runs/%s-seed%lld", run->name, (long long)run->seed);
    }
    hwm_status s = hwm_run_dir_open(&t->dir, path, err);
    return s != HWM_OK ? s : hwm_run_dir_match(&t->dir, t->experiment, err);
}

static void take_news(train* t, double received_s) {
    hwm_json* json = NULL;
    const char* line = NULL;
    while (hwm_follow_next(t->follow, &json, &line)) {
        hwm_progress_metrics(&t->progress, json, received_s);
        if (received_s > 0.0) {
            hwm_display_json(&t->display, line);
        } else if (isfinite(t->progress.wall_s)) {
            t->previous_wall_s = t->progress.wall_s;
        }
        hwm_json_free(&json);
    }
    json = t->watch ? hwm_watch_take(t->watch) : NULL;
    if (json) {
        hwm_progress_stats(&t->progress, json);
        hwm_json_free(&json);
    }
    t->progress.worker_restarts = t->cluster.worker_restarts;
}

// How the same run goes on: what a person types next.
static void resume_hint(const train* t, char* text, size_t size) {
    snprintf(text, size, "Resume with: hwm train %s --run-dir %s", t->file, t->dir.path);
    size_t n = strlen(text);
    for (int i = 0; i < t->set.n && n < size; i++) {
        n += (size_t)snprintf(text + n, size - n, " --set %s", t->set.v[i]);
    }
}

static void explain_death(train* t, hwm_cluster_event event) {
    char how[128], hint[2 * HWM_PATH_MAX], tail[4096];
    const hwm_process* p = t->cluster.culprit;
    hwm_process_describe(p, how, sizeof how);
    resume_hint(t, hint, sizeof hint);
    hwm_process_log_tail(p, 8, tail, sizeof tail);
    const char* kept = event == HWM_CLUSTER_SERVER_DIED
                           ? "Every experience it had acknowledged is in the replay store, and the "
                             "learner has saved "
                             "its last state where it could."
                       : event == HWM_CLUSTER_LEARNER_DIED
                           ? "The replay store is complete, and training goes on from the "
                             "learner's last checkpoint."
                           : "The replay store and the learner's checkpoints are complete.";
    fprintf(stderr, "%s %s %s, so the run has ended. %s\n%s\nEnd of its log (%s):\n%s\n",
            event == HWM_CLUSTER_WORKERS_FAIL ? "Worker" : "The", p->name, how, kept, hint, p->log,
            tail[0] ? tail : "(empty)");
    struct statvfs disk;
    if (statvfs(t->dir.path, &disk) == 0 && disk.f_bavail < disk.f_blocks / 20) {
        fprintf(stderr, "The disk of %s is nearly full: make room before you resume.\n",
                t->dir.path);
    }
}

// Watch over the run until something ends it.
static hwm_cluster_event follow_run(train* t) {
    for (;;) {
        char note[512];
        hwm_cluster_event event = hwm_cluster_tend(&t->cluster, note, sizeof note);
        if (note[0]) {
            hwm_display_note(&t->display, note);
        }
        take_news(t, hwm_clock_s());
        t->progress.workers_alive = hwm_cluster_workers_alive(&t->cluster);
        t->progress.wall_s = t->previous_wall_s + hwm_clock_s() - t->started_s;
        if (event != HWM_CLUSTER_RUNNING || hwm_signals_stop_requested() || t->display.closed) {
            return event;
        }
        hwm_display_update(&t->display, &t->progress, false);
        hwm_sleep_ms(50);
    }
}

static hwm_exit judge(train* t) {
    hwm_judge_request request = hwm_judge_default_request();
    request.episodes = t->options->episodes;
    request.controls = true;
    request.json = t->options->json;
    char path[HWM_PATH_MAX];
    request.save = hwm_path_join(path, t->dir.path, "evaluation.json") ? path : NULL;
    hwm_error err = {0};
    hwm_status s = hwm_judge_checkpoint(t->dir.path, &request, stdout, &err);
    if (s == HWM_ECLOSED) {
        return HWM_EXIT_INTERRUPTED;
    }
    if (s != HWM_OK) {
        fprintf(stderr, "hwm train: the run is complete, but its evaluation failed: %s\n",
                err.text);
        return HWM_EXIT_FAILED;
    }
    return HWM_EXIT_DONE;
}

static hwm_exit run_and_report(train* t) {
    char note[512], hint[2 * HWM_PATH_MAX], path[HWM_PATH_MAX];
    hwm_error err = {0};
    hwm_display_open(&t->display, t->options->json);
    snprintf(note, sizeof note, "%s %.400s", t->dir.resumes ? "resuming" : "training in",
             t->dir.path);
    hwm_display_note(&t->display, note);

    // what earlier processes of this run have written
    hwm_progress_init(&t->progress, t->experiment->run.name);
    t->progress.max_env_steps = (double)t->experiment->run.max_env_steps;
    t->progress.max_updates = (double)t->experiment->run.max_updates;
    t->progress.max_minutes = t->experiment->run.max_minutes;
    t->progress.workers = (int)t->experiment->run.workers;
    if (!hwm_path_join(path, t->dir.path, "metrics.jsonl") ||
        !(t->follow = hwm_follow_open(path))) {
        fprintf(stderr, "hwm train: out of memory\n");
        return HWM_EXIT_FAILED;
    }
    take_news(t, 0.0);

    hwm_cluster_config config = {t->file, &t->set, (int)t->experiment->run.workers};
    if (hwm_cluster_start(&t->cluster, &config, &t->dir, &err) != HWM_OK) {
        hwm_display_close(&t->display);
        fprintf(stderr, "hwm train: %s\n", err.text);
        return HWM_EXIT_FAILED;
    }
    t->started_s = hwm_clock_s();
    t->watch = hwm_watch_start(t->dir.endpoint, NULL, false, 1000);
    hwm_cluster_event event = follow_run(t);

    // stop what still runs, whatever ended the run
    hwm_watch_stop(&t->watch);
    if (event != HWM_CLUSTER_FINISHED && !t->display.closed) {
        hwm_display_update(&t->display, &t->progress, true);
    }
    hwm_cluster_stop(&t->cluster, note, sizeof note);
    take_news(t, hwm_clock_s());
    if (note[0]) {
        hwm_display_note(&t->display, note);
    }
    if (!t->display.closed) {
        hwm_display_update(&t->display, &t->progress, true);
    }
    hwm_display_close(&t->display);

    if (event == HWM_CLUSTER_FINISHED) {
        return t->options->no_evaluation ? HWM_EXIT_DONE : judge(t);
    }
    if (event != HWM_CLUSTER_RUNNING) {
        explain_death(t, event);
        return HWM_EXIT_FAILED;
    }
    resume_hint(t, hint, sizeof hint);
    if (t->display.closed) {
        fprintf(stderr, "Standard output was closed, so the run has been stopped cleanly. %s\n",
                hint);
        return HWM_EXIT_FAILED;
    }
    fprintf(stderr, "Stopped cleanly. %s\n", hint);
    return hwm_signals_which() == SIGINT ? HWM_EXIT_INTERRUPTED : HWM_EXIT_DONE;
}

// A terminal that goes away asks for the same clean stop as SIGTERM.
static void on_hangup(int signal_number) {
    (void)signal_number;
    raise(SIGTERM);
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    (void)n_operands;
    static train t;  // large: display history and process tables
    memset(&t, 0, sizeof t);
    t.options = options;
    t.file = operands[0];
    t.dir.lock = -1;
    hwm_error err = {0};
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    hwm_signals_install();
    struct sigaction hangup = {.sa_handler = on_hangup};
    sigemptyset(&hangup.sa_mask);
    sigaction(SIGHUP, &hangup, NULL);

    hwm_exit code = HWM_EXIT_DONE;
    hwm_status s = resolve(&t, &err);
    if (s == HWM_OK && t.options->print_config) {
        int n = 0;
        hwm_config_section* sections = hwm_experiment_sections(t.experiment, &n);
        s = hwm_config_show(sections, n, HWM_CONFIG_ORIGINS, &err);
    } else if (s == HWM_OK && (s = open_run_dir(&t, &err)) == HWM_OK) {
        code = run_and_report(&t);
    }
    if (s != HWM_OK) {
        fprintf(stderr, "hwm train: %s\n", err.text);
        code = s == HWM_EINVAL || s == HWM_EEXIST ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
    }
    hwm_follow_close(&t.follow);
    hwm_run_dir_close(&t.dir);
    hwm_experiment_destroy(&t.experiment);
    return code;
}

#define OPTION(field) offsetof(train_options, field)
static const hwm_option options[] = {
    {"--run-dir", "DIR", HWM_OPTION_TEXT, OPTION(run_dir), NULL, 0, 0,
     "Where everything of the run lies; the same command with the same directory resumes it. "
     "Without it: "
     "runs/NAME-seedN."},
    {"--workers", "N", HWM_OPTION_INT, OPTION(workers), NULL, 1, HWM_CLUSTER_WORKERS_MAX,
     "Worker processes to start here (short for --set run.workers=N)."},
    {"--seed", "S", HWM_OPTION_INT, OPTION(seed), "-1", -1, 4294967295.0,
     "Everything random follows from it; -1: the experiment's own (short for --set run.seed=S)."},
    {"--set", "KEY=VALUE", HWM_OPTION_LIST, OPTION(set), NULL, 0, 0,
     "Override one field of the experiment, as train.lr=0.001."},
    {"--max-env-steps", "N", HWM_OPTION_INT, OPTION(max_env_steps), NULL, 1, 1e12,
     "End after so many environment steps (short for --set run.max_env_steps=N)."},
    {"--deterministic", NULL, HWM_OPTION_FLAG, OPTION(deterministic), NULL, 0, 0,
     "Workers and learner take turns, and the run repeats bit for bit (short for --set "
     "run.schedule=rounds)."},
    {"--episodes", "N", HWM_OPTION_INT, OPTION(episodes), "100", 1, 100000,
     "Fresh episodes of the evaluation at the end."},
    {"--no-evaluation", NULL, HWM_OPTION_FLAG, OPTION(no_evaluation), NULL, 0, 0,
     "End without the evaluation; `hwm eval` gives it later."},
    {"--json", NULL, HWM_OPTION_FLAG, OPTION(json), NULL, 0, 0,
     "Print the lines of metrics.jsonl as they appear, then one object with the evaluation."},
    {"--print-config", NULL, HWM_OPTION_FLAG, OPTION(print_config), NULL, 0, 0,
     "Start nothing: print every value of the experiment and where it came from."},
};
const hwm_command hwm_command_train = {
    .name = "train",
    .operands = "EXPERIMENT.yaml",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Train on this machine: server, learner and workers, followed to the end",
    .details = "Starts hwm-server, hwm-learner and hwm-worker processes over an ipc socket, shows "
               "how it goes, "
               "starts a worker again when it dies, and ends with the return of the best "
               "parameters over fresh "
               "episodes beside its controls: coefficients zeroed and shuffled, plasticity frozen, "
               "weights "
               "reset.\n\nSIGINT and SIGTERM stop workers, learner and server in this order; the "
               "learner saves a "
               "checkpoint first. When the server or the learner dies, the run ends with a "
               "sentence that says how "
               "to resume. The processes' logs lie in the run directory under logs/.\n\nExit "
               "codes: 0 the run is "
               "complete, or it was stopped by SIGTERM; 130 stopped by SIGINT; 1 a process died; 2 "
               "the experiment "
               "or an option is wrong.",
    .example =
        "hwm train deploy/experiments/cartpole.yaml --seed 1\n"
        "hwm train deploy/experiments/cartpole.yaml --set train.lr=0.001 --run-dir runs/slow",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(train_options),
    .run = run,
};
