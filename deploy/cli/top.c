// hwm top: a server's statistics on a terminal, redrawn every second.
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "commands.h"
#include "run_dir.h"
#include "view.h"
#include "watch.h"

typedef struct top_options {
    const char* server;
    const char* key_dir;
    bool insecure;
    int64_t interval_ms;
} top_options;

typedef struct top {
    hwm_watch* watch;
    hwm_json *now, *before;
    double now_s, before_s;
    hwm_view_sort sort;
    bool reverse, paused, quit;
    struct termios saved;
} top;

static void draw(top* t, const char* endpoint) {
    static char text[1 << 16];
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    char problem[512];
    hwm_watch_problem(t->watch, problem, sizeof problem);
    printf("\033[H");
    int lines = 0;
    if (t->now) {
        hwm_view_options o = {.width = size.ws_col,
                              .height = size.ws_row - 2,
                              .sort = t->sort,
                              .reverse = t->reverse,
                              .previous = t->before,
                              .elapsed_s = t->now_s - t->before_s};
        lines = hwm_view_page(t->now, &o, text, sizeof text);
        // clear what was longer before
        for (char* p = text; *p; p++) {
            fputs(*p == '\n' ? "\033[K\n" : (char[2]){*p, '\0'}, stdout);
        }
    } else {
        printf("waiting for %.*s\033[K\n", size.ws_col > 13 ? size.ws_col - 13 : 0, endpoint);
        lines = 1;
    }
    printf("\033[J\033[%d;1H", size.ws_row > lines + 1 ? size.ws_row : lines + 1);
    if (problem[0]) {
        printf("\033[7m%.*s\033[0m", size.ws_col, problem);
    } else {
        char help[128];
        snprintf(help, sizeof help, "q quit  p %s  s sort by %s  r %s",
                 t->paused ? "go on" : "pause", hwm_view_sort_name(t->sort),
                 t->reverse ? "smallest first" : "largest first");
        printf("\033[2m%.*s\033[0m", size.ws_col, help);
    }
    fflush(stdout);
}

static void take(top* t) {
    hwm_json* news = hwm_watch_take(t->watch);
    if (news && t->paused) {
        hwm_json_free(&news);
    } else if (news) {
        hwm_json_free(&t->before);
        t->before = t->now;
        t->before_s = t->now_s;
        t->now = news;
        t->now_s = hwm_clock_s();
    }
}

static void key(top* t, char c) {
    switch (c) {
    case 'q':
    case 3:  // Ctrl-C, should the terminal hand it through
        t->quit = true;
        break;
    case 'p':
    case ' ':
        t->paused = !t->paused;
        break;
    case 's':
        t->sort = (t->sort + 1) % HWM_VIEW_SORTS;
        break;
    case 'r':
        t->reverse = !t->reverse;
        break;
    default:
        break;
    }
}

static void terminal_begin(top* t) {
    tcgetattr(STDIN_FILENO, &t->saved);
    struct termios raw = t->saved;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    printf("\033[?1049h\033[?25l\033[2J");
}

static void terminal_end(top* t) {
    printf("\033[?25h\033[?1049l");
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    const top_options* o = options;
    char endpoint[256];
    hwm_error err = {0};
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    hwm_signals_install();
    const char* server = o->server ? o->server : n_operands ? operands[0] : NULL;
    if (hwm_endpoint_find(server, endpoint, sizeof endpoint, &err) != HWM_OK) {
        fprintf(stderr, "hwm top: %s\n", err.text);
        return err.code == HWM_EINVAL ? HWM_EXIT_USAGE : HWM_EXIT_FAILED;
    }
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        fprintf(stderr,
                "hwm top: not on a terminal; `hwm stats --server %s` prints the same once\n",
                server);
        return HWM_EXIT_USAGE;
    }
    top t = {.reverse = false};
    t.watch = hwm_watch_start(endpoint, o->key_dir, o->insecure, (int)o->interval_ms);
    if (!t.watch) {
        fprintf(stderr, "hwm top: out of memory\n");
        return HWM_EXIT_FAILED;
    }
    terminal_begin(&t);
    double drawn_s = -INFINITY;
    while (!t.quit && !hwm_signals_stop_requested()) {
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        bool pressed = poll(&in, 1, 100) > 0;
        char c = 0;
        while (pressed && read(STDIN_FILENO, &c, 1) == 1) {
            key(&t, c);
        }
        if (pressed && c == 0) {
            t.quit = true;  // the terminal is gone
        }
        take(&t);
        if (pressed || hwm_clock_s() - drawn_s >= 0.5) {
            draw(&t, endpoint);
            drawn_s = hwm_clock_s();
        }
    }
    terminal_end(&t);
    hwm_watch_stop(&t.watch);
    hwm_json_free(&t.now);
    hwm_json_free(&t.before);
    return HWM_EXIT_DONE;
}

#define OPTION(field) offsetof(top_options, field)
static const hwm_option options[] = {
    {"--server", "ENDPOINT", HWM_OPTION_TEXT, OPTION(server), NULL, 0, 0,
     "The server's address (ipc:///path, tcp://host:port), or the directory of a run on this "
     "machine."},
    {"--key-dir", "DIR", HWM_OPTION_TEXT, OPTION(key_dir), NULL, 0, 0,
     "CURVE keys from `hwm keygen`; needed except on ipc and loopback."},
    {"--insecure", NULL, HWM_OPTION_FLAG, OPTION(insecure), NULL, 0, 0,
     "Plain text to an address that is neither ipc nor loopback."},
    {"--interval-ms", "N", HWM_OPTION_INT, OPTION(interval_ms), "1000", 100, 60000,
     "Milliseconds between two questions to the server."},
};
const hwm_command hwm_command_top = {
    .name = "top",
    .operands = "[ENDPOINT]",
    .operands_max = 1,
    .summary = "Watch a server live: replay, limiter, parameters, learner, workers",
    .details =
        "Keys: q quits, p pauses, s sorts the workers by the next column, r turns the order round.",
    .example = "hwm top runs/cartpole-seed0",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(top_options),
    .run = run,
};
