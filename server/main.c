// hwm-server: everything is in the library.
#include "server/server.h"

int main(int argc, char** argv) {
    return hwm_command_main(&hwm_server_command, argc, argv);
}
