// hwm trace: an episode of one environment as CSV.
#include <math.h>

#include "base/log.h"
#include "commands.h"
#include "rollout.h"

typedef struct trace_options {
    rollout_options rollout;
} trace_options;

static void print_header(const hwm_env_spec* spec) {
    printf("t");
    for (int o = 0; o < spec->obs_dim; o++) {
        printf(",obs.%s", spec->obs_name[o]);
    }
    for (int a = 0; a < spec->action_dim; a++) {
        printf(",action.%s", spec->action_name[a]);
    }
    printf(",reward,terminated,truncated\n");
}

// Nine digits: a float32 is read back exactly.
static void print_observation(const rollout* r) {
    printf("%lld", (long long)r->t);
    for (int o = 0; o < r->spec->obs_dim; o++) {
        printf(",%.9g", (double)r->obs[o]);
    }
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    (void)operands;
    (void)n_operands;
    const trace_options* o = options;
    hwm_log_setup("hwm", HWM_LOG_WARN, HWM_LOG_TEXT);
    rollout r;
    hwm_error err = {0};
    hwm_status s = rollout_begin(&r, &o->rollout, &err);
    if (s != HWM_OK) {
        fprintf(stderr, "hwm trace: %s\n", err.text);
        rollout_end(&r);
        return s == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
    }
    print_header(r.spec);
    while (rollout_choose(&r)) {
        print_observation(&r);
        for (int a = 0; a < r.spec->action_dim; a++) {
            printf(",%.9g", (double)r.action[a]);
        }
        rollout_step(&r);
        printf(",%.9g,%d,%d\n", (double)r.reward, r.terminated, r.truncated);
    }
    // what the last action led to
    print_observation(&r);
    for (int a = 0; a < r.spec->action_dim; a++) {
        printf(",nan");
    }
    printf(",0,%d,%d\n", r.terminated, r.truncated);
    rollout_end(&r);
    return ferror(stdout) ? HWM_EXIT_FAILED : HWM_EXIT_DONE;
}

static const hwm_option options[] = {
    ROLLOUT_OPTIONS(trace_options, rollout),
};
const hwm_command hwm_command_trace = {
    .name = "trace",
    .operands = "",
    .summary = "An episode of one environment as CSV",
    .details = "Columns: t, obs.NAME ..., action.NAME ..., reward, terminated, truncated. Row t "
               "holds the observation "
               "before decision t, the action taken there, and the reward and the ends that it "
               "brought. One more row "
               "holds the observation that the last action led to, with nan as its action.",
    .example =
        "hwm trace --env cartpole --seed 3 > episode.csv\n"
        "hwm trace --env cartpole --init-state 0,0,0.05,0 --actions pushes.csv --variant flip",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(trace_options),
    .run = run,
};
