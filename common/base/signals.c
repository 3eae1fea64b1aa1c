// The handlers only note the signal; the loops of the programs look at it between two steps.
#include "base/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_int first_signal;  // lock-free, so a handler may write it

static void note(int signal) {
    int none = 0;
    atomic_compare_exchange_strong(&first_signal, &none, signal);
}

void hwm_signals_install(void) {
    struct sigaction action = {.sa_handler = note};
    sigemptyset(&action.sa_mask);  // no SA_RESTART: a sleeping or polling call returns at once
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, NULL);
}

bool hwm_signals_stop_requested(void) {
    return atomic_load_explicit(&first_signal, memory_order_relaxed) != 0;
}

int hwm_signals_which(void) {
    return atomic_load_explicit(&first_signal, memory_order_relaxed);
}
