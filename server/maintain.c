// data path  [6] store
#include "server/maintain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/store.h"

static hwm_status store_in(const char* dir, hwm_error* err) {
    char path[HWM_CONFIG_STRING_MAX + 16];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    return access(path, F_OK) == 0 ? HWM_OK
                                   : hwm_fail(err, HWM_ENOTFOUND, "%s holds no replay store", dir);
}

// ---- check

typedef struct bad_chunk {
    int table;
    uint64_t id;
} bad_chunk;
typedef struct checking {
    hwm_store* store;
    bool json, repair;
    FILE* out;
    hwm_check_report* report;
    int table;
    char name[64];
    bad_chunk* bad;
    size_t n_bad, bad_capacity;
    char (*bad_blob)[512];
    size_t n_bad_blobs;
    bool no_memory;
} checking;

static void problem_line(checking* c, const char* what) {
    if (c->json) {
        fprintf(c->out, "%s\"%s\"", c->n_bad + c->n_bad_blobs > 1 ? "," : "", what);
    } else {
        fprintf(c->out, "%s\n", what);
    }
}

static void check_record(void* context, uint64_t id, const hwm_chunk_meta* meta,
                         const char* problem) {
    checking* c = context;
    c->report->chunks++;
    if (problem == NULL) {
        c->report->steps += meta->steps;
        c->report->bytes += meta->value_bytes;
        return;
    }
    c->report->bad_chunks++;
    if (c->n_bad == c->bad_capacity) {
        size_t capacity = c->bad_capacity > 0 ? 2 * c->bad_capacity : 64;
        bad_chunk* grown = realloc(c->bad, capacity * sizeof *grown);
        if (grown == NULL) {
            c->no_memory = true;
            return;
        }
        c->bad = grown;
        c->bad_capacity = capacity;
    }
    c->bad[c->n_bad++] = (bad_chunk){c->table, id};
    char text[320], where[96] = "";
    if (meta != NULL) {
        snprintf(where, sizeof where,
                 " (stream %" PRIu32 "/%" PRIu32 ", sequence %" PRIu64 ", %" PRIu32 " steps)",
                 meta->env, meta->incarnation, meta->sequence, meta->steps);
    }
    snprintf(text, sizeof text, "table %s chunk %" PRIu64 "%s: %s%s", c->name, id, where, problem,
             c->repair ? "; removed" : "");
    problem_line(c, text);
}

static hwm_status check_table(void* context, int table, const hwm_table_config* config,
                              double limiter_offset, const hwm_table_state* state) {
    checking* c = context;
    (void)limiter_offset;
    (void)state;
    c->report->tables++;
    c->table = table;
    memcpy(c->name, config->name, sizeof c->name);
    return hwm_store_each_record(c->store, table, check_record, c, NULL);
}

static void check_blob(void* context, const char* key) {
    checking* c = context;
    void* value;
    size_t bytes;
    c->report->blobs++;
    hwm_status status = hwm_store_blob_get(c->store, key, &value, &bytes, NULL);
    free(value);
    if (status == HWM_OK) {
        return;
    }
    c->report->bad_blobs++;
    char(*grown)[512] = realloc(c->bad_blob, (c->n_bad_blobs + 1) * sizeof *grown);
    if (grown == NULL) {
        c->no_memory = true;
        return;
    }
    c->bad_blob = grown;
    snprintf(c->bad_blob[c->n_bad_blobs++], sizeof c->bad_blob[0], "%s", key);
    char text[640];
    snprintf(text, sizeof text, "blob %s: it fails its checksum%s", key,
             c->repair ? "; removed" : "");
    problem_line(c, text);
}

// The segments of a removed chunk end before it: what follows does not continue what comes before,
// which the index sees by the step numbers when it is rebuilt.
static hwm_status remove_bad(checking* c, hwm_error* err) {
    enum { PER_TRANSACTION = 256 };
    hwm_status status = HWM_OK;
    for (size_t i = 0; i < c->n_bad && status == HWM_OK;) {
        hwm_store_txn* txn;
        status = hwm_store_begin(c->store, &txn, err);
        for (int k = 0; k < PER_TRANSACTION && i < c->n_bad && status == HWM_OK; k++, i++) {
            status = hwm_store_chunk_delete(txn, c->bad[i].table, c->bad[i].id, err);
            c->report->removed_chunks += status == HWM_OK;
        }
        if (status == HWM_OK) {
            status = hwm_store_commit(&txn, err);
        }
        hwm_store_abort(&txn);
    }
    for (size_t i = 0; i < c->n_bad_blobs && status == HWM_OK; i++) {
        hwm_store_txn* txn;
        status = hwm_store_begin(c->store, &txn, err);
        if (status == HWM_OK) {
            status = hwm_store_blob_delete(txn, c->bad_blob[i], err);
        }
        if (status == HWM_OK) {
            status = hwm_store_commit(&txn, err);
        }
        hwm_store_abort(&txn);
        c->report->removed_blobs += status == HWM_OK;
    }
    return status;
}

hwm_status hwm_replay_check(const char* dir, bool repair, bool json, FILE* out,
                            hwm_check_report* report, hwm_error* err) {
    memset(report, 0, sizeof *report);
    hwm_status status = store_in(dir, err);
    if (status != HWM_OK) {
        return status;
    }
    // room beside what is there, for the transactions of a repair
    char path[HWM_CONFIG_STRING_MAX + 16];
    struct stat file = {0};
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    stat(path, &file);
    hwm_replay_config config = {.durability = HWM_DURABLE_FULL,
                                .map_bytes = file.st_size + (1 << 30)};
    snprintf(config.dir, sizeof config.dir, "%s", dir);
    checking c = {.json = json, .repair = repair, .out = out, .report = report};
    status = hwm_store_open(&c.store, &config, err);
    if (status != HWM_OK) {
        return status;
    }
    if (json) {
        fputs("{\"problems\":[", out);
    }
    status = hwm_store_each_table(c.store, check_table, &c, err);
    if (status == HWM_OK) {
        hwm_store_blob_list(c.store, "", check_blob, &c);
    }
    if (status == HWM_OK && c.no_memory) {
        status = hwm_fail(err, HWM_ENOMEM, "no memory for the list of bad records");
    }
    if (status == HWM_OK && repair) {
        status = remove_bad(&c, err);
    }
    if (json) {
        fprintf(out,
                "],\"tables\":%" PRIu64 ",\"chunks\":%" PRIu64 ",\"steps\":%" PRIu64
                ",\"bytes\":%" PRIu64 ",\"blobs\":%" PRIu64 ",\"bad_chunks\":%" PRIu64
                ",\"bad_blobs\":%" PRIu64 ",\"removed_chunks\":%" PRIu64
                ",\"removed_blobs\":%" PRIu64 "}\n",
                report->tables, report->chunks, report->steps, report->bytes, report->blobs,
                report->bad_chunks, report->bad_blobs, report->removed_chunks,
                report->removed_blobs);
    }
    hwm_store_close(&c.store);
    free(c.bad);
    free(c.bad_blob);
    if (status == HWM_OK && report->bad_chunks + report->bad_blobs > 0 && !repair) {
        status =
            hwm_fail(err, HWM_ECORRUPT,
                     "%" PRIu64 " of %" PRIu64 " chunks and %" PRIu64 " of %" PRIu64
                     " blobs are damaged; hwm check %s --repair removes them",
                     report->bad_chunks, report->chunks, report->bad_blobs, report->blobs, dir);
    }
    return status;
}

// ---- snapshot, restore

static hwm_status sync_path(const char* path, hwm_error* err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool fine = fd >= 0 && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0) {
        close(fd);
    }
    return fine ? HWM_OK : hwm_fail(err, HWM_EIO, "cannot sync %s: %s", path, strerror(why));
}

// The directory that holds `path`.
static void parent_of(const char* path, char* parent, size_t size) {
    snprintf(parent, size, "%s", path);
    char* slash = strrchr(parent, '/');
    if (slash == NULL) {
        snprintf(parent, size, ".");
    } else if (slash == parent) {
        parent[1] = '\0';
    } else {
        *slash = '\0';
    }
}

static void remove_copy(const char* dir) {
    char path[HWM_CONFIG_STRING_MAX + 32];
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    unlink(path);
    rmdir(dir);
}

hwm_status hwm_store_snapshot(hwm_store* store, const char* to, hwm_error* err) {
    char part[HWM_CONFIG_STRING_MAX + 16], file[HWM_CONFIG_STRING_MAX + 32],
        parent[HWM_CONFIG_STRING_MAX];
    if (access(to, F_OK) == 0) {
        return hwm_fail(err, HWM_EEXIST, "%s is there already", to);
    }
    snprintf(part, sizeof part, "%s.part", to);
    remove_copy(part);  // of an earlier attempt
    if (mkdir(part, 0777) != 0) {
        return hwm_fail(err, HWM_EIO, "cannot create %s: %s", part, strerror(errno));
    }
    hwm_status status = hwm_store_copy(store, part, err);
    snprintf(file, sizeof file, "%s/data.mdb", part);
    if (status == HWM_OK) {
        status = sync_path(file, err);
    }
    if (status == HWM_OK && rename(part, to) != 0) {
        status = hwm_fail(err, HWM_EIO, "cannot rename %s: %s", part, strerror(errno));
    }
    if (status != HWM_OK) {
        remove_copy(part);
        return status;
    }
    parent_of(to, parent, sizeof parent);
    return sync_path(parent, err);
}

hwm_status hwm_replay_copy(const char* dir, const char* to, hwm_error* err) {
    hwm_store* store;
    hwm_status status = store_in(dir, err);
    if (status == HWM_OK) {
        status = hwm_store_open_reader(&store, dir, err);
    }
    if (status == HWM_OK) {
        status = hwm_store_snapshot(store, to, err);
        hwm_store_close(&store);
    }
    return status;
}

hwm_status hwm_replay_restore(const char* snapshot, const char* dir, bool force, hwm_error* err) {
    char path[HWM_CONFIG_STRING_MAX + 16], part[HWM_CONFIG_STRING_MAX + 16];
    hwm_check_report report;
    FILE* nowhere = fopen("/dev/null", "w");
    if (nowhere == NULL) {
        return hwm_fail(err, HWM_EIO, "cannot open /dev/null");
    }
    hwm_status status = hwm_replay_check(snapshot, false, false, nowhere, &report, err);
    fclose(nowhere);
    if (status != HWM_OK) {
        return status;
    }
    bool there = store_in(dir, NULL) == HWM_OK;
    if (there && !force) {
        return hwm_fail(err, HWM_EEXIST, "%s holds a store already; --force replaces it", dir);
    }
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return hwm_fail(err, HWM_EIO, "cannot create %s: %s", dir, strerror(errno));
    }
    // nobody may own the directory while its file is replaced
    snprintf(path, sizeof path, "%s/owner", dir);
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0) {
        return hwm_fail(err, HWM_EIO, "cannot open %s: %s", path, strerror(errno));
    }
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        close(lock);
        return hwm_fail(err, HWM_EEXIST, "%s is in use by another process", dir);
    }
    hwm_store* store = NULL;
    snprintf(part, sizeof part, "%s/restore", dir);
    remove_copy(part);
    status = hwm_store_open_reader(&store, snapshot, err);
    if (status == HWM_OK) {
        status = hwm_store_snapshot(store, part, err);
    }
    hwm_store_close(&store);
    if (status == HWM_OK) {
        char from[HWM_CONFIG_STRING_MAX + 32];
        snprintf(from, sizeof from, "%s/data.mdb", part);
        snprintf(path, sizeof path, "%s/data.mdb", dir);
        if (rename(from, path) != 0) {
            status = hwm_fail(err, HWM_EIO, "cannot rename %s: %s", from, strerror(errno));
        }
        // readers of the old file are counted in the lock file
        snprintf(path, sizeof path, "%s/lock.mdb", dir);
        unlink(path);
    }
    remove_copy(part);
    if (status == HWM_OK) {
        status = sync_path(dir, err);
    }
    close(lock);
    return status;
}
