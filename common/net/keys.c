#include "net/keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { PATH_BYTES = 512, FILE_BYTES_MAX = 4096, KEYS_MAX = 4096 };

static const char* const role_names[] = {"worker", "learner", "operator", "viewer"};

const char* hwm_role_name(hwm_role role) {
    return role >= HWM_ROLE_WORKER && role <= HWM_ROLE_VIEWER ? role_names[role] : "unknown";
}

bool hwm_role_parse(const char* text, hwm_role* role) {
    for (int k = HWM_ROLE_WORKER; k <= HWM_ROLE_VIEWER; k++) {
        if (strcmp(text, role_names[k]) == 0) {
            *role = (hwm_role)k;
            return true;
        }
    }
    return false;
}

// ---- files

static hwm_status write_pair(const char* path, const hwm_key_pair* pair, bool secret,
                             hwm_error* err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0600 : 0644);
    if (fd < 0) {
        return hwm_fail(err, errno == EEXIST ? HWM_EEXIST : HWM_EIO, "cannot write %s: %s", path,
                        strerror(errno));
    }
    FILE* f = fdopen(fd, "w");
    if (f == NULL) {
        close(fd);
        return hwm_fail(err, HWM_EIO, "cannot write %s: %s", path, strerror(errno));
    }
    fprintf(f, "#   %s\n", secret ? "SECRET: keep it on the machine that uses it" : "public");
    fprintf(f, "metadata\n    name = \"%s\"\n    role = \"%s\"\n", pair->name,
            strcmp(pair->name, "server") == 0 ? "server" : hwm_role_name(pair->role));
    fprintf(f, "curve\n    public-key = \"%s\"\n", pair->public_key);
    if (secret) {
        fprintf(f, "    secret-key = \"%s\"\n", pair->secret_key);
    }
    bool ok = fflush(f) == 0 && fsync(fd) == 0;
    ok = fclose(f) == 0 && ok;
    return ok ? HWM_OK : hwm_fail(err, HWM_EIO, "cannot write %s: %s", path, strerror(errno));
}

// name = "value" of one line; false when it is no such line.
static bool read_line(const char* line, const char* name, char* value, size_t size) {
    line += strspn(line, " \t");
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0) {
        return false;
    }
    line += n;
    line += strspn(line, " \t");
    if (*line != '=') {
        return false;
    }
    line++;
    line += strspn(line, " \t\"'");
    size_t length = strcspn(line, "\"'\r\n");
    snprintf(value, size, "%.*s", (int)length, line);
    return true;
}

hwm_status hwm_keys_load(const char* path, hwm_key_pair* pair, hwm_error* err) {
    memset(pair, 0, sizeof *pair);
    FILE* f = fopen(path, "r");
    if (f == NULL) {
        return hwm_fail(err, errno == ENOENT ? HWM_ENOTFOUND : HWM_EIO,
                        "cannot read the key %s: %s", path, strerror(errno));
    }
    char line[256], role[16] = "";
    size_t total = 0;
    while (fgets(line, sizeof line, f) != NULL && (total += strlen(line)) < FILE_BYTES_MAX) {
        if (!read_line(line, "public-key", pair->public_key, sizeof pair->public_key) &&
            !read_line(line, "secret-key", pair->secret_key, sizeof pair->secret_key) &&
            !read_line(line, "name", pair->name, sizeof pair->name)) {
            read_line(line, "role", role, sizeof role);
        }
    }
    fclose(f);
    if (!hwm_curve_key_valid(pair->public_key) ||
        (pair->secret_key[0] != '\0' && !hwm_curve_key_valid(pair->secret_key))) {
        return hwm_fail(err, HWM_ECORRUPT, "%s holds no CURVE key of 40 characters", path);
    }
    if (strcmp(role, "server") != 0 && !hwm_role_parse(role, &pair->role)) {
        return hwm_fail(err, HWM_ECORRUPT,
                        "%s: role is \"%s\"; worker, learner, operator and viewer are allowed",
                        path, role);
    }
    return HWM_OK;
}

static hwm_status make_pair(hwm_key_pair* pair, const char* name, hwm_role role, hwm_error* err) {
    memset(pair, 0, sizeof *pair);
    snprintf(pair->name, sizeof pair->name, "%s", name);
    pair->role = role;
    return hwm_curve_keypair(pair->public_key, pair->secret_key, err);
}

static hwm_status make_folder(const char* path, mode_t mode, hwm_error* err) {
    return mkdir(path, mode) == 0 || errno == EEXIST
               ? HWM_OK
               : hwm_fail(err, HWM_EIO, "cannot make %s: %s", path, strerror(errno));
}

hwm_status hwm_keys_add(const char* dir, const char* name, hwm_role role, hwm_error* err) {
    char path[PATH_BYTES], folder[PATH_BYTES];
    hwm_key_pair pair;
    size_t n = strlen(name);
    if (n == 0 || n >= sizeof pair.name || name[0] == '.' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != n ||
        strcmp(name, "server") == 0) {
        return hwm_fail(err, HWM_EINVAL,
                        "client name \"%s\": letters, digits, - _ and, inside, . are allowed, and "
                        "not \"server\"",
                        name);
    }
    snprintf(folder, sizeof folder, "%s/authorized", dir);
    hwm_status s = make_folder(folder, 0755, err);
    s = s != HWM_OK ? s : make_pair(&pair, name, role, err);
    snprintf(path, sizeof path, "%s/%s.key", dir, name);
    s = s != HWM_OK ? s : write_pair(path, &pair, true, err);
    snprintf(path, sizeof path, "%s/authorized/%s.pub", dir, name);
    return s != HWM_OK ? s : write_pair(path, &pair, false, err);
}

hwm_status hwm_keys_init(const char* dir, hwm_error* err) {
    char path[PATH_BYTES];
    hwm_key_pair pair;
    if (strlen(dir) + 128 > sizeof path) {
        return hwm_fail(err, HWM_EINVAL, "the key folder's path is longer than %zu bytes",
                        sizeof path - 128);
    }
    hwm_status s = make_folder(dir, 0700, err);
    snprintf(path, sizeof path, "%s/server.key", dir);
    if (s == HWM_OK && access(path, F_OK) != 0) {
        s = make_pair(&pair, "server", HWM_ROLE_OPERATOR, err);
        s = s != HWM_OK ? s : write_pair(path, &pair, true, err);
        snprintf(path, sizeof path, "%s/server.pub", dir);
        s = s != HWM_OK ? s : write_pair(path, &pair, false, err);
    }
    for (int role = HWM_ROLE_WORKER; s == HWM_OK && role <= HWM_ROLE_VIEWER; role++) {
        s = hwm_keys_add(dir, role_names[role], (hwm_role)role, err);
        s = s == HWM_EEXIST ? HWM_OK : s;
    }
    return s;
}

hwm_status hwm_keys_load_client(const char* dir, hwm_role role, hwm_key_pair* own,
                                char server[HWM_KEY_TEXT], hwm_error* err) {
    char path[PATH_BYTES];
    hwm_key_pair pair;
    snprintf(path, sizeof path, "%s/server.pub", dir);
    hwm_status s = hwm_keys_load(path, &pair, err);
    if (s != HWM_OK) {
        return s;
    }
    memcpy(server, pair.public_key, HWM_KEY_TEXT);
    snprintf(path, sizeof path, "%s/client.key", dir);
    if (access(path, F_OK) != 0) {
        snprintf(path, sizeof path, "%s/%s.key", dir, hwm_role_name(role));
    }
    s = hwm_keys_load(path, own, err);
    if (s == HWM_OK && own->secret_key[0] == '\0') {
        s = hwm_fail(err, HWM_ECORRUPT, "%s has no secret key: a client needs its pair", path);
    }
    return s;
}

// ---- the keyring

struct hwm_keyring {
    char folder[PATH_BYTES];
    hwm_key_pair* key;
    int n, capacity;
    struct timespec folder_time;
    uint64_t fingerprint;  // of names, sizes and times
    int64_t scanned_ns;
    bool incomplete;  // there was no memory for all keys: read again
};

static int by_key(const void* a, const void* b) {
    return strcmp(((const hwm_key_pair*)a)->public_key, ((const hwm_key_pair*)b)->public_key);
}

static uint64_t mix(uint64_t h, const void* bytes, size_t n) {
    for (size_t k = 0; k < n; k++) {
        h = (h ^ ((const uint8_t*)bytes)[k]) * 1099511628211u;
    }
    return h;
}

// What the folder looks like; with `load`, the keys are read too.
static uint64_t scan_folder(hwm_keyring* ring, bool load) {
    uint64_t sum = 1469598103934665603u;
    DIR* d = opendir(ring->folder);
    if (load) {
        ring->n = 0;
        ring->incomplete = false;
    }
    if (d == NULL) {
        return sum;
    }
    const struct dirent* e;
    while ((e = readdir(d)) != NULL && ring->n < KEYS_MAX) {
        char path[PATH_BYTES + 260];
        struct stat st;
        size_t length = strlen(e->d_name);
        if (length < 5 || strcmp(e->d_name + length - 4, ".pub") != 0) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", ring->folder, e->d_name);
        if (stat(path, &st) != 0) {
            continue;
        }
        // a sum, so that the order of the folder does not matter
        uint64_t h = mix(7, e->d_name, length);
        h = mix(h, &st.st_mtim, sizeof st.st_mtim);
        sum += mix(h, &st.st_size, sizeof st.st_size);
        if (!load) {
            continue;
        }
        if (ring->n == ring->capacity) {
            int capacity = ring->capacity == 0 ? 16 : 2 * ring->capacity;
            hwm_key_pair* grown = realloc(ring->key, (size_t)capacity * sizeof *grown);
            if (grown == NULL) {
                ring->incomplete = true;
                break;
            }
            ring->key = grown;
            ring->capacity = capacity;
        }
        hwm_error err = {0};
        if (hwm_keys_load(path, &ring->key[ring->n], &err) == HWM_OK) {
            ring->n++;
        } else {
            hwm_log(HWM_LOG_WARN, "keys", "key not read", "reason=\"%s\"", err.text);
        }
    }
    closedir(d);
    if (load && ring->n > 0) {
        qsort(ring->key, (size_t)ring->n, sizeof *ring->key, by_key);
    }
    return sum;
}

// A file that comes or goes changes the folder's time at once; one that is rewritten in place is
// noticed within a second.
static void refresh(hwm_keyring* ring) {
    struct stat st;
    int64_t now = hwm_clock_ns();
    if (stat(ring->folder, &st) != 0) {
        memset(&st, 0, sizeof st);
    }
    bool moved = memcmp(&st.st_mtim, &ring->folder_time, sizeof st.st_mtim) != 0;
    if (!moved && now - ring->scanned_ns < 1000000000) {
        return;
    }
    ring->scanned_ns = now;
    uint64_t sum = scan_folder(ring, false);
    if (moved || sum != ring->fingerprint || ring->incomplete) {
        ring->folder_time = st.st_mtim;
        ring->fingerprint = scan_folder(ring, true);
        hwm_log(HWM_LOG_INFO, "keys", "authorised keys", "folder=%s keys=%d", ring->folder,
                ring->n);
    }
}

hwm_status hwm_keyring_open(hwm_keyring** out, const char* dir, hwm_error* err) {
    *out = NULL;
    struct stat st;
    hwm_keyring* ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        return hwm_fail(err, HWM_ENOMEM, "no memory for keys");
    }
    snprintf(ring->folder, sizeof ring->folder, "%.480s/authorized", dir);
    if (stat(ring->folder, &st) != 0 || !S_ISDIR(st.st_mode)) {
        hwm_status s = hwm_fail(err, HWM_ENOTFOUND, "%s is missing: make keys with hwm keygen %s",
                                ring->folder, dir);
        free(ring);
        return s;
    }
    refresh(ring);
    if (ring->incomplete) {
        hwm_keyring_close(&ring);
        return hwm_fail(err, HWM_ENOMEM, "no memory for keys");
    }
    *out = ring;
    return HWM_OK;
}

void hwm_keyring_close(hwm_keyring** ring) {
    if (*ring != NULL) {
        free((*ring)->key);
        free(*ring);
        *ring = NULL;
    }
}

const hwm_key_pair* hwm_keyring_find(hwm_keyring* ring, const char* public_key) {
    hwm_key_pair want = {0};
    refresh(ring);
    if (strlen(public_key) != HWM_KEY_TEXT - 1 || ring->n == 0) {
        return NULL;
    }
    memcpy(want.public_key, public_key, HWM_KEY_TEXT);
    return bsearch(&want, ring->key, (size_t)ring->n, sizeof want, by_key);
}
