// hwm: the operator's command.
#include "command.h"

int main(int argc, char** argv) {
    return hwm_cli_main(argc, argv);
}
