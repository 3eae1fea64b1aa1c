// hwm keygen: CURVE keys of a deployment.
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "net/keys.h"

typedef struct keygen_options {
    const char* client;
    const char* role;
} keygen_options;

static hwm_exit run_keygen(const void* options, const char* const* operands, int n_operands) {
    (void)n_operands;
    const keygen_options* o = options;
    const char* dir = operands[0];
    hwm_error err = {0};
    hwm_role role = HWM_ROLE_WORKER;
    if (!hwm_role_parse(o->role, &role)) {
        fprintf(stderr,
                "hwm keygen: --role %s is not a role: it is worker, learner, operator or viewer\n",
                o->role);
        return HWM_EXIT_USAGE;
    }
    if (hwm_keys_init(dir, &err) != HWM_OK ||
        (o->client && hwm_keys_add(dir, o->client, role, &err) != HWM_OK)) {
        fprintf(stderr, "hwm keygen: %s\n", err.text);
        return HWM_EXIT_FAILED;
    }
    if (o->client) {
        printf("%s/%s.key    for the %s: give it this file and %s/server.pub\n"
               "%s/authorized/%s.pub    lets it in; remove it and it is refused at its next "
               "request\n",
               dir, o->client, hwm_role_name(role), dir, dir, o->client);
    } else {
        printf("%s/server.key     stays with the server\n"
               "%s/server.pub     goes to every client\n"
               "%s/{worker,learner,operator,viewer}.key    one for each role\n"
               "%s/authorized/    who may come in: remove a file and its key is refused at its "
               "next request\n",
               dir, dir, dir, dir);
    }
    return HWM_EXIT_DONE;
}

static const hwm_option keygen_table[] = {
    {"--client", "NAME", HWM_OPTION_TEXT, offsetof(keygen_options, client), NULL, 0, 0,
     "One more client: NAME.key, and its public half among the authorised ones."},
    {"--role", "ROLE", HWM_OPTION_TEXT, offsetof(keygen_options, role), "worker", 0, 0,
     "What that client may do: worker, learner, operator or viewer."},
};
const hwm_command hwm_command_keygen = {
    .name = "keygen",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Make the CURVE keys of a deployment; what exists stays",
    .example = "hwm keygen keys\nhwm keygen keys --client node7 --role worker",
    .options = keygen_table,
    .n_options = sizeof keygen_table / sizeof keygen_table[0],
    .options_bytes = sizeof(keygen_options),
    .run = run_keygen,
};
