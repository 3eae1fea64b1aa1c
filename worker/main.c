// hwm-worker: signals, and the options of worker/options.c; everything else is hwm_worker_run.
#include "base/command.h"
#include "base/signals.h"
#include "worker/worker.h"

int main(int argc, char** argv) {
    hwm_signals_install();
    return hwm_command_main(&hwm_worker_command, argc, argv);
}
