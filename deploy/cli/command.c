// The list of commands: finding one, the overview, the reference and completion.
#include "command.h"

#include <string.h>

const hwm_command* hwm_command_find(const char* name) {
    for (int i = 0; i < hwm_commands_n; i++) {
        if (strcmp(hwm_commands[i]->name, name) == 0) {
            return hwm_commands[i];
        }
    }
    return NULL;
}

void hwm_commands_overview(FILE* out) {
    fprintf(out,
            "hwm %s: train plastic controllers in the imagination of a world model\n\n"
            "usage: hwm COMMAND [options]\n\n",
            HWM_VERSION);
    for (int i = 0; i < hwm_commands_n; i++) {
        fprintf(out, "  %-12s %s\n", hwm_commands[i]->name, hwm_commands[i]->summary);
    }
    fprintf(out,
            "\n`hwm COMMAND --help` explains a command. Exit codes: 0 done, 1 something outside "
            "failed,\n2 wrong command line or configuration, 130 interrupted.\n");
}

void hwm_commands_markdown(FILE* out) {
    for (int i = 0; i < hwm_commands_n; i++) {
        hwm_command_markdown(hwm_commands[i], out);
    }
}

void hwm_commands_completion(FILE* out) {
    fprintf(out,
            "# bash completion for hwm: source <(hwm completion)\n"
            "_hwm() {\n"
            "    local current=\"${COMP_WORDS[COMP_CWORD]}\" command=\"${COMP_WORDS[1]}\" words\n"
            "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
            "        words=\"--help --version");
    for (int i = 0; i < hwm_commands_n; i++) {
        fprintf(out, " %s", hwm_commands[i]->name);
    }
    fprintf(out, "\"\n    else\n        case \"$command\" in\n");
    for (int i = 0; i < hwm_commands_n; i++) {
        fprintf(out, "        %s) words=\"", hwm_commands[i]->name);
        hwm_command_words(hwm_commands[i], out);
        fprintf(out, "\" ;;\n");
    }
    fprintf(out, "        esac\n    fi\n"
                 "    case \"$current\" in\n"
                 "    -*) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\") ;;\n"
                 "    *) if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                 "           mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
                 "       else\n"
                 "           mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
                 "       fi ;;\n"
                 "    esac\n"
                 "}\n"
                 "complete -o filenames -F _hwm hwm\n"
                 // the other programs say themselves which options they have
                 "_hwm_program() {\n"
                 "    case \"${COMP_WORDS[COMP_CWORD]}\" in\n"
                 "    -*) mapfile -t COMPREPLY < <(compgen -W \"$(\"$1\" --words)\" -- "
                 "\"${COMP_WORDS[COMP_CWORD]}\") ;;\n"
                 "    esac\n"
                 "}\n"
                 "complete -o default -F _hwm_program hwm-server hwm-worker hwm-learner\n");
}

int hwm_cli_main(int argc, char** argv) {
    if (argc < 2) {
        hwm_commands_overview(stderr);
        return HWM_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        hwm_commands_overview(stdout);
        return HWM_EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("hwm %s\n", HWM_VERSION);
        return HWM_EXIT_DONE;
    }
    const hwm_command* command = hwm_command_find(argv[1]);
    if (!command) {
        const char* names[64];
        int n = 0;
        for (int i = 0; i < hwm_commands_n && n < 64; i++) {
            names[n++] = hwm_commands[i]->name;
        }
        const char* near = hwm_nearest_name(argv[1], names, n);
        fprintf(stderr, "hwm: no command '%s'; %s%s%s\n", argv[1], near ? "did you mean '" : "",
                near ? near : "`hwm --help` lists them", near ? "'?" : "");
        return HWM_EXIT_USAGE;
    }
    return hwm_command_run(command, argc - 2, argv + 2);
}
