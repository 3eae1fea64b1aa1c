// A server process of its own.
#include "served.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

static void must(hwm_status s, const hwm_error* err) {
    if (s != HWM_OK) {
        fprintf(stderr, "bench: %s: %s\n", hwm_status_name(s), err->text);
        exit(1);
    }
}

static void start(served* s) {
    char self[4096], dir[128];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 16);
    char* slash = n > 0 ? memrchr(self, '/', (size_t)n) : NULL;
    snprintf(s->folder, sizeof s->folder, "/tmp/hwm-bench-XXXXXX");
    if (!slash || !mkdtemp(s->folder)) {
        fprintf(stderr, "bench: no folder in /tmp\n");
        exit(1);
    }
    snprintf(slash + 1, 12, "hwm-server");
    snprintf(s->endpoint, sizeof s->endpoint, "ipc://%s/s", s->folder);
    snprintf(dir, sizeof dir, "%s/store", s->folder);
    s->server = fork();
    if (s->server == 0) {
        execl(self, self, "--listen", s->endpoint, "--dir", dir, (char*)NULL);
        _exit(127);
    }
}

static hwm_client* connect_as(const served* s, hwm_role role, int environments) {
    hwm_client_config config = hwm_client_default_config();
    hwm_client* client;
    hwm_error err = {HWM_OK, ""};
    config.endpoint = s->endpoint;
    config.role = role;
    config.environments = environments;
    must(hwm_client_create(&client, &config, &err), &err);
    return client;
}

void served_open(served* s, const hwm_signature* signature, const char* yaml, int environments) {
    hwm_error err = {HWM_OK, ""};
    memset(s, 0, sizeof *s);
    start(s);
    hwm_client* learner = connect_as(s, HWM_ROLE_LEARNER, 0);
    hwm_table_config* table = calloc(1, sizeof *table);
    HWM_ASSERT(table);
    snprintf(table->name, sizeof table->name, "bench");
    table->signature = *signature;
    table->capacity_steps = 100000;
    table->experiment = yaml;
    must(hwm_client_table_create(learner, table, &err), &err);
    free(table);
    hwm_client_destroy(&learner, 0, NULL);
    s->client = connect_as(s, HWM_ROLE_WORKER, environments);
}

void served_close(served* s) {
    hwm_client_destroy(&s->client, 5000, NULL);
    kill(s->server, SIGTERM);
    waitpid(s->server, NULL, 0);
    static const char* const left[] = {
        "store/data.mdb", "store/lock.mdb", "store/owner", "store", "s", ""};
    for (size_t k = 0; k < sizeof left / sizeof left[0]; k++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", s->folder, left[k]);
        remove(path);
    }
}
