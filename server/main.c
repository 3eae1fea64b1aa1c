#include "server/server.h"

int main(int argc, char** argv) {
    return hwm_server_main(argc, argv);
}
