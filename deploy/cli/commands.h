// One row per command: defined beside its run function, listed in commands.c.
#ifndef HWM_CLI_COMMANDS_H
#define HWM_CLI_COMMANDS_H

#include "command.h"

extern const hwm_command hwm_command_train;
extern const hwm_command hwm_command_eval;
extern const hwm_command hwm_command_report;
extern const hwm_command hwm_command_plot;
extern const hwm_command hwm_command_render;
extern const hwm_command hwm_command_export;
extern const hwm_command hwm_command_config;
extern const hwm_command hwm_command_stats;
extern const hwm_command hwm_command_top;
extern const hwm_command hwm_command_ping;
extern const hwm_command hwm_command_keygen;
extern const hwm_command hwm_command_check;
extern const hwm_command hwm_command_snapshot;
extern const hwm_command hwm_command_restore;
extern const hwm_command hwm_command_replay;
extern const hwm_command hwm_command_envs;
extern const hwm_command hwm_command_trace;
extern const hwm_command hwm_command_help_text;
extern const hwm_command hwm_command_completion_script;

#endif
