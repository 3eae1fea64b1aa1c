#include "watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/client.h"

struct hwm_watch {
    pthread_t thread;
    pthread_mutex_t mutex;
    char* endpoint;
    char* key_dir;
    bool insecure;
    int interval_ms;
    // guarded by mutex
    bool stop;
    hwm_json* newest;
    double answered_s;  // hwm_clock_s of the last answer, 0: none
    char problem[sizeof((hwm_error*)0)->text];
};

static bool should_stop(hwm_watch* w) {
    pthread_mutex_lock(&w->mutex);
    bool stop = w->stop;
    pthread_mutex_unlock(&w->mutex);
    return stop;
}

static void set_problem(hwm_watch* w, const char* text) {
    pthread_mutex_lock(&w->mutex);
    snprintf(w->problem, sizeof w->problem, "%s", text);
    pthread_mutex_unlock(&w->mutex);
}

static void pause_ms(hwm_watch* w, int ms) {
    for (int waited = 0; waited < ms && !should_stop(w); waited += 50) {
        hwm_sleep_ms(50);
    }
}

static void ask(hwm_watch* w, hwm_client** client) {
    hwm_error err = {0};
    if (!*client) {
        hwm_client_config config = hwm_client_default_config();
        config.endpoint = w->endpoint;
        config.key_dir = w->key_dir;
        config.insecure = w->insecure;
        config.role = HWM_ROLE_OPERATOR;
        config.connect_timeout_ms = 1000;
        if (hwm_client_create(client, &config, &err) != HWM_OK) {
            set_problem(w, err.text);
            return;
        }
    }
    char* text = NULL;
    if (hwm_client_stats(*client, &text, &err) != HWM_OK) {
        set_problem(w, err.text);
        hwm_client_destroy(client, 0, NULL);
        return;
    }
    hwm_json* json = hwm_json_parse(text, strlen(text));
    free(text);
    if (!json) {
        set_problem(w, "the server's statistics are not JSON");
        return;
    }
    pthread_mutex_lock(&w->mutex);
    hwm_json_free(&w->newest);
    w->newest = json;
    w->answered_s = hwm_clock_s();
    w->problem[0] = '\0';
    pthread_mutex_unlock(&w->mutex);
}

static void* run(void* context) {
    hwm_watch* w = context;
    hwm_client* client = NULL;
    while (!should_stop(w)) {
        ask(w, &client);
        pause_ms(w, client ? w->interval_ms : 100);
    }
    hwm_client_destroy(&client, 0, NULL);
    return NULL;
}

hwm_watch* hwm_watch_start(const char* endpoint, const char* key_dir, bool insecure,
                           int interval_ms) {
    hwm_watch* w = calloc(1, sizeof *w);
    if (!w) {
        return NULL;
    }
    pthread_mutex_init(&w->mutex, NULL);
    w->endpoint = strdup(endpoint);
    w->key_dir = key_dir ? strdup(key_dir) : NULL;
    w->insecure = insecure;
    w->interval_ms = interval_ms;
    if (!w->endpoint || (key_dir && !w->key_dir) || pthread_create(&w->thread, NULL, run, w) != 0) {
        free(w->endpoint);
        free(w->key_dir);
        pthread_mutex_destroy(&w->mutex);
        free(w);
        return NULL;
    }
    return w;
}

void hwm_watch_stop(hwm_watch** watch) {
    hwm_watch* w = *watch;
    if (!w) {
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    hwm_json_free(&w->newest);
    pthread_mutex_destroy(&w->mutex);
    free(w->endpoint);
    free(w->key_dir);
    free(w);
    *watch = NULL;
}

hwm_json* hwm_watch_take(hwm_watch* w) {
    pthread_mutex_lock(&w->mutex);
    hwm_json* json = w->newest;
    w->newest = NULL;
    pthread_mutex_unlock(&w->mutex);
    return json;
}

double hwm_watch_age_s(hwm_watch* w) {
    pthread_mutex_lock(&w->mutex);
    double age = w->answered_s > 0 ? hwm_clock_s() - w->answered_s : -1.0;
    pthread_mutex_unlock(&w->mutex);
    return age;
}

void hwm_watch_problem(hwm_watch* w, char* text, size_t size) {
    pthread_mutex_lock(&w->mutex);
    snprintf(text, size, "%s", w->problem);
    pthread_mutex_unlock(&w->mutex);
}
