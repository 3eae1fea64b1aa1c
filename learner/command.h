// The command line of hwm-learner, for its main, the reference and shell completion.
#ifndef HWM_LEARNER_COMMAND_H
#define HWM_LEARNER_COMMAND_H

#include "base/command.h"

extern const hwm_command hwm_learner_command;

#endif
