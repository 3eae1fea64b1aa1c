// hwm-worker: signals, log, and the options of worker/options.c; everything else is hwm_worker_run.
#include "base/command.h"
#include "base/log.h"
#include "base/signals.h"
#include "worker/worker.h"

int main(int argc, char** argv) {
    hwm_log_setup("hwm-worker", HWM_LOG_INFO, HWM_LOG_TEXT);
    hwm_signals_install();
    return hwm_command_main(&hwm_worker_command, argc, argv);
}
