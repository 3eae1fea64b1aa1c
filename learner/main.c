#include "command.h"

int main(int argc, char** argv) {
    return hwm_command_main(&hwm_learner_command, argc, argv);
}
