#include "run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

bool hwm_path_join(char* out, const char* path, const char* name) {
    return snprintf(out, HWM_PATH_MAX, "%s/%s", path, name) < HWM_PATH_MAX;
}

bool hwm_path_exists(const char* path) {
    struct stat st;
    return stat(path, &st) == 0;
}

hwm_status hwm_path_make(const char* path, hwm_error* err) {
    char part[HWM_PATH_MAX];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part) {
        return hwm_fail(err, HWM_EINVAL, "a path of more than %d bytes: %.80s...", HWM_PATH_MAX,
                        path);
    }
    for (char* p = part + 1;; p++) {
        if (*p != '/' && *p != '\0') {
            continue;
        }
        char c = *p;
        *p = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST) {
            return hwm_fail(err, HWM_EIO, "cannot make the directory %s: %s", part,
                            strerror(errno));
        }
        *p = c;
        if (c == '\0') {
            break;
        }
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return hwm_fail(err, HWM_EIO, "%s exists and is not a directory; choose another path",
                        path);
    }
    return HWM_OK;
}

static hwm_status write_line(const char* path, const char* text, hwm_error* err) {
    FILE* f = fopen(path, "w");
    if (!f || fprintf(f, "%s\n", text) < 0 || fflush(f) != 0) {
        int error = errno;
        if (f) {
            fclose(f);
        }
        return hwm_fail(err, HWM_EIO, "cannot write %s: %s", path, strerror(error));
    }
    fclose(f);
    return HWM_OK;
}

// A Unix socket's path holds at most 107 bytes: where the run's own is longer, the socket goes to a
// directory in /tmp.
static hwm_status choose_endpoint(hwm_run_dir* dir, hwm_error* err) {
    char socket_path[HWM_PATH_MAX];
    const size_t path_max = sizeof((struct sockaddr_un*)0)->sun_path - 1;
    if (!hwm_path_join(socket_path, dir->path, "server.sock") || strlen(socket_path) > path_max) {
        snprintf(dir->socket_dir, sizeof dir->socket_dir, "/tmp/hwm-XXXXXX");
        if (!mkdtemp(dir->socket_dir)) {
            dir->socket_dir[0] = '\0';
            return hwm_fail(err, HWM_EIO,
                            "cannot make a directory for the server's socket in /tmp: %s",
                            strerror(errno));
        }
        snprintf(socket_path, sizeof socket_path, "%s/server.sock", dir->socket_dir);
    }
    snprintf(dir->endpoint, sizeof dir->endpoint, "ipc://%.107s", socket_path);
    char file[HWM_PATH_MAX];
    if (!hwm_path_join(file, dir->path, "endpoint")) {
        return hwm_fail(err, HWM_EINVAL, "the path of the run directory is too long: %.80s...",
                        dir->path);
    }
    return write_line(file, dir->endpoint, err);
}

hwm_status hwm_run_dir_open(hwm_run_dir* dir, const char* path, hwm_error* err) {
    memset(dir, 0, sizeof *dir);
    dir->lock = -1;
    hwm_status s = hwm_path_make(path, err);
    if (s != HWM_OK) {
        return s;
    }
    char* absolute = realpath(path, NULL);
    if (!absolute || strlen(absolute) > HWM_PATH_MAX - 64) {
        free(absolute);
        return hwm_fail(err, HWM_EIO, "cannot resolve the run directory %s: %s", path,
                        strerror(errno));
    }
    snprintf(dir->path, sizeof dir->path, "%s", absolute);
    free(absolute);
    char file[HWM_PATH_MAX];
    if (!hwm_path_join(file, dir->path, "lock")) {
        return hwm_fail(err, HWM_EINVAL, "the path of the run directory is too long: %s", path);
    }
    dir->lock = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (dir->lock < 0) {
        return hwm_fail(err, HWM_EIO, "cannot write in the run directory %s: %s", path,
                        strerror(errno));
    }
    if (flock(dir->lock, LOCK_EX | LOCK_NB) != 0) {
        close(dir->lock);
        dir->lock = -1;
        return hwm_fail(
            err, HWM_EDENIED,
            "another `hwm train` is running in %s; wait for it, stop it, or choose another "
            "--run-dir",
            path);
    }
    if (!hwm_path_join(file, dir->path, "logs")) {
        return hwm_fail(err, HWM_EINVAL, "the path of the run directory is too long: %s", path);
    }
    s = hwm_path_make(file, err);
    return s != HWM_OK ? s : choose_endpoint(dir, err);
}

void hwm_run_dir_close(hwm_run_dir* dir) {
    char file[HWM_PATH_MAX];
    if (strncmp(dir->endpoint, "ipc://", 6) == 0) {
        unlink(dir->endpoint + 6);
        if (hwm_path_join(file, dir->path, "endpoint")) {
            unlink(file);
        }
    }
    if (dir->socket_dir[0]) {
        rmdir(dir->socket_dir);
    }
    if (dir->lock >= 0) {
        close(dir->lock);
        dir->lock = -1;
    }
}

// Value of one field, printed as the configuration file has it.
static bool section_get(hwm_config_section* section, const char* name, char* out, size_t size) {
    for (int i = 0; i < section->table->n; i++) {
        const hwm_config_field* f = &section->table->fields[i];
        if (strcmp(f->name, name) != 0) {
            continue;
        }
        char* yaml = hwm_config_print(section, 1, HWM_CONFIG_PLAIN);
        if (!yaml) {
            return false;
        }
        // the line "  name: value"
        bool found = false;
        size_t length = strlen(name);
        for (char* line = strtok(yaml, "\n"); line && !found; line = strtok(NULL, "\n")) {
            line += strspn(line, " ");
            if (strncmp(line, name, length) == 0 && line[length] == ':') {
                const char* value = line + length + 1;
                snprintf(out, size, "%s", value + strspn(value, " "));
                found = true;
            }
        }
        free(yaml);
        return found;
    }
    return false;
}

bool hwm_experiment_get(hwm_experiment* experiment, const char* key, char* out, size_t size) {
    const char* dot = strchr(key, '.');
    int n = 0;
    hwm_config_section* sections = hwm_experiment_sections(experiment, &n);
    for (int i = 0; dot && i < n; i++) {
        if (strncmp(sections[i].table->section, key, (size_t)(dot - key)) == 0 &&
            sections[i].table->section[dot - key] == '\0') {
            return section_get(&sections[i], dot + 1, out, size);
        }
    }
    return false;
}

static bool may_change(const char* section, const char* name) {
    static const char* const fields[] = {"run.max_env_steps", "run.workers", "run.report_s"};
    char key[160];
    snprintf(key, sizeof key, "%s.%s", section, name);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i], key) == 0) {
            return true;
        }
    }
    return false;
}

hwm_status hwm_run_dir_match(hwm_run_dir* dir, hwm_experiment* experiment, hwm_error* err) {
    char config[HWM_PATH_MAX];
    if (!hwm_path_join(config, dir->path, "config.yaml") || !hwm_path_exists(config)) {
        return HWM_OK;
    }
    hwm_experiment* held = NULL;
    hwm_error why = {0};
    if (hwm_experiment_load(&held, config, NULL, NULL, 0, &why) != HWM_OK) {
        return hwm_fail(
            err, HWM_ECORRUPT,
            "%s cannot be read, so this run cannot be resumed; choose another --run-dir: %s",
            config, why.text);
    }
    int n = 0, m = 0;
    hwm_config_section* now = hwm_experiment_sections(experiment, &n);
    hwm_config_section* then = hwm_experiment_sections(held, &m);
    hwm_status s = HWM_OK;
    for (int i = 0; i < n && i < m && s == HWM_OK; i++) {
        for (int f = 0; f < now[i].table->n && s == HWM_OK; f++) {
            const char* name = now[i].table->fields[f].name;
            char a[1024] = "", b[1024] = "";
            if (section_get(&now[i], name, a, sizeof a) &&
                section_get(&then[i], name, b, sizeof b) && strcmp(a, b) != 0 &&
                !may_change(now[i].table->section, name)) {
                s = hwm_fail(
                    err, HWM_EEXIST,
                    "%s holds a run of another experiment: there %s.%s is %.80s, here it is "
                    "%.80s; choose another --run-dir, or start as it was started",
                    dir->path, now[i].table->section, name, b, a);
            }
        }
    }
    hwm_experiment_destroy(&held);
    dir->resumes = s == HWM_OK;
    return s;
}

hwm_status hwm_checkpoint_find(const char* path, char* checkpoint, char* config, hwm_error* err) {
    char file[HWM_PATH_MAX];
    if (!hwm_path_exists(path)) {
        return hwm_fail(err, HWM_ENOTFOUND,
                        "%s: no such directory; --checkpoint takes a run directory "
                        "or one of its checkpoints",
                        path);
    }
    // a checkpoint itself
    if (hwm_path_join(file, path, "controller.safetensors") && hwm_path_exists(file)) {
        snprintf(checkpoint, HWM_PATH_MAX, "%s", path);
        static const char* const above[] = {"config.yaml", "../config.yaml", "../../config.yaml"};
        for (int i = 0; i < 3; i++) {
            if (hwm_path_join(config, path, above[i]) && hwm_path_exists(config)) {
                return HWM_OK;
            }
        }
        return hwm_fail(
            err, HWM_ENOTFOUND,
            "%s is a checkpoint, but its run's config.yaml lies neither in it nor in the two "
            "directories above it",
            path);
    }
    // a run directory
    if (!hwm_path_join(config, path, "config.yaml") || !hwm_path_exists(config)) {
        return hwm_fail(err, HWM_ENOTFOUND,
                        "%s is neither a run directory (no config.yaml) nor a checkpoint (no "
                        "controller.safetensors)",
                        path);
    }
    static const char* const names[] = {"checkpoints/best", "checkpoints/latest"};
    for (int i = 0; i < 2; i++) {
        if (hwm_path_join(checkpoint, path, names[i]) &&
            hwm_path_join(file, checkpoint, "controller.safetensors") && hwm_path_exists(file)) {
            return HWM_OK;
        }
    }
    return hwm_fail(
        err, HWM_ENOTFOUND,
        "%s holds no checkpoint yet (looked for checkpoints/best and checkpoints/latest); "
        "let it train longer",
        path);
}

hwm_status hwm_endpoint_find(const char* text, char* out, size_t size, hwm_error* err) {
    if (!text) {
        return hwm_fail(err, HWM_EINVAL,
                        "--server is missing: an endpoint (ipc:///path, tcp://host:port) "
                        "or the directory of a run");
    }
    if (strstr(text, "://")) {
        if (snprintf(out, size, "%s", text) >= (int)size) {
            return hwm_fail(err, HWM_EINVAL, "the endpoint is too long: %.60s...", text);
        }
        return HWM_OK;
    }
    char file[HWM_PATH_MAX];
    if (!hwm_path_exists(text)) {
        return hwm_fail(err, HWM_ENOTFOUND,
                        "%s is neither an endpoint (ipc:///path, tcp://host:port) "
                        "nor a directory",
                        text);
    }
    FILE* f = hwm_path_join(file, text, "endpoint") ? fopen(file, "r") : NULL;
    if (!f) {
        return hwm_fail(err, HWM_ENOTFOUND,
                        "no server is running for %s: it has no file `endpoint`", text);
    }
    char* line = fgets(out, (int)size, f);
    fclose(f);
    if (!line) {
        return hwm_fail(err, HWM_ECORRUPT, "%s is empty", file);
    }
    out[strcspn(out, "\n")] = '\0';
    return HWM_OK;
}
