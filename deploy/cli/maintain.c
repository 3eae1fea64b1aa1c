// hwm check, hwm snapshot, hwm restore: looking after a replay directory.
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "commands.h"
#include "server/maintain.h"

// The store of DIR: DIR itself, or its replay/ where DIR is a run directory.
static void store_of(const char* dir, char* path, size_t size) {
    char file[512];
    snprintf(file, sizeof file, "%.480s/replay/data.mdb", dir);
    snprintf(path, size, access(file, F_OK) == 0 ? "%.240s/replay" : "%.250s", dir);
}

static hwm_exit report(const char* command, hwm_status status, const hwm_error* err) {
    if (status != HWM_OK) {
        fprintf(stderr, "hwm %s: %s\n", command, err->text);
    }
    return status == HWM_OK ? HWM_EXIT_DONE : HWM_EXIT_FAILED;
}

// ---- check

typedef struct check_options {
    bool repair, json;
} check_options;

static hwm_exit run_check(const void* options, const char* const* operands, int n_operands) {
    const check_options* o = options;
    (void)n_operands;
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    char dir[256];
    hwm_error err = {0};
    hwm_check_report r;
    store_of(operands[0], dir, sizeof dir);
    hwm_status status = hwm_replay_check(dir, o->repair, o->json, stdout, &r, &err);
    if (!o->json && (status == HWM_OK || status == HWM_ECORRUPT)) {
        printf("%" PRIu64 " tables, %" PRIu64 " chunks of %" PRIu64 " steps in %.1f MB, %" PRIu64
               " blobs: %" PRIu64 " bad, %" PRIu64 " removed\n",
               r.tables, r.chunks, r.steps, (double)r.bytes * 1e-6, r.blobs,
               r.bad_chunks + r.bad_blobs, r.removed_chunks + r.removed_blobs);
    }
    return report("check", status, &err);
}

static const hwm_option check_table[] = {
    {"--repair", NULL, HWM_OPTION_FLAG, offsetof(check_options, repair), NULL, 0, 0,
     "Remove bad records and cut their streams there; says what was removed."},
    {"--json", NULL, HWM_OPTION_FLAG, offsetof(check_options, json), NULL, 0, 0,
     "One object with the counts and a list of problems."},
};
const hwm_command hwm_command_check = {
    .name = "check",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Verify every record of a replay directory against its checksum",
    .details =
        "DIR is a replay directory or a run directory. No server may be using it. Ends with 1 when "
        "bad records were found and left.",
    .example = "hwm check runs/cartpole-seed0\n"
               "hwm check runs/cartpole-seed0 --repair",
    .options = check_table,
    .n_options = sizeof check_table / sizeof check_table[0],
    .options_bytes = sizeof(check_options),
    .run = run_check,
};

// ---- snapshot

static hwm_exit run_snapshot(const void* options, const char* const* operands, int n_operands) {
    (void)options;
    (void)n_operands;
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    char dir[256];
    hwm_error err = {0};
    store_of(operands[0], dir, sizeof dir);
    return report("snapshot", hwm_replay_copy(dir, operands[1], &err), &err);
}

const hwm_command hwm_command_snapshot = {
    .name = "snapshot",
    .operands = "DIR TO",
    .operands_min = 2,
    .operands_max = 2,
    .summary = "Consistent copy of a replay directory, while a server may be using it",
    .details =
        "DIR is a replay directory or a run directory on this machine; TO must not exist. The copy "
        "appears under its name when it is complete and on disk.",
    .example = "hwm snapshot runs/cartpole-seed0 backup/monday",
    .run = run_snapshot,
};

// ---- restore

typedef struct restore_options {
    bool force;
} restore_options;

static hwm_exit run_restore(const void* options, const char* const* operands, int n_operands) {
    const restore_options* o = options;
    (void)n_operands;
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    char dir[256];
    hwm_error err = {0};
    store_of(operands[1], dir, sizeof dir);
    return report("restore", hwm_replay_restore(operands[0], dir, o->force, &err), &err);
}

static const hwm_option restore_table[] = {
    {"--force", NULL, HWM_OPTION_FLAG, offsetof(restore_options, force), NULL, 0, 0,
     "Replace the store that DIR holds."},
};
const hwm_command hwm_command_restore = {
    .name = "restore",
    .operands = "SNAPSHOT DIR",
    .operands_min = 2,
    .operands_max = 2,
    .summary = "Put a snapshot in place of a replay directory, after verifying it",
    .details = "No server may be using DIR, a replay directory or a run directory.",
    .example = "hwm restore backup/monday runs/cartpole-seed0 --force",
    .options = restore_table,
    .n_options = sizeof restore_table / sizeof restore_table[0],
    .options_bytes = sizeof(restore_options),
    .run = run_restore,
};
