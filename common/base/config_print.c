// Printing: the whole configuration as YAML, and the reference for --help.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/config_internal.h"

// "# default", "# line 12 of the file", "# environment HWM_TRAIN__LR", "# --set".
static void print_origin(FILE* out, const hwm_config_section* section, int i) {
    char variable[192];
    switch ((hwm_config_origin)section->origin[i]) {
    case HWM_ORIGIN_DEFAULT:
        fprintf(out, "  # default");
        break;
    case HWM_ORIGIN_FILE:
        fprintf(out, "  # line %d of the file", section->line[i]);
        break;
    case HWM_ORIGIN_ENVIRONMENT:
        hwm_config_variable(section->table->section, section->table->fields[i].name, variable,
                            sizeof variable);
        fprintf(out, "  # environment %s", variable);
        break;
    case HWM_ORIGIN_SET:
        fprintf(out, "  # --set");
        break;
    }
}

char* hwm_config_print(const hwm_config_section* sections, int n, hwm_config_form form) {
    char* text = NULL;
    size_t size = 0;
    char allowed[640];
    FILE* f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    for (int s = 0; s < n; s++) {
        const hwm_config_table* table = sections[s].table;
        if (form == HWM_CONFIG_HELP)
            fprintf(f, "%s# %s\n", s ? "\n" : "", table->help);
        fprintf(f, "%s:\n", table->section);
        for (int i = 0; i < table->n; i++) {
            const hwm_config_field* field = &table->fields[i];
            if (form == HWM_CONFIG_HELP) {
                hwm_config_allowed(field, allowed, sizeof allowed);
                fprintf(f, "  # %s [%s]\n", field->help, allowed);
            }
            fprintf(f, "  %s: ", field->name);
            hwm_config_print_value(f, field, sections[s].target);
            if (form == HWM_CONFIG_ORIGINS)
                print_origin(f, &sections[s], i);
            fputc('\n', f);
        }
    }
    bool failed = ferror(f) != 0;
    if (fclose(f) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

hwm_status hwm_config_show(const hwm_config_section* sections, int n, hwm_config_form form,
                           hwm_error* err) {
    char* text = hwm_config_print(sections, n, form);
    if (!text)
        return hwm_fail(err, HWM_ENOMEM, "no memory to print the configuration");
    bool written = fputs(text, stdout) >= 0 && fflush(stdout) == 0;
    free(text);
    return written ? HWM_OK
                   : hwm_fail(err, HWM_EIO, "the configuration could not be written: %s",
                              strerror(errno));
}

void hwm_config_help(const hwm_config_section* sections, int n, FILE* out) {
    char allowed[640];
    for (int s = 0; s < n; s++) {
        const hwm_config_table* table = sections[s].table;
        fprintf(out, "%s%s: %s\n", s ? "\n" : "", table->section, table->help);
        for (int i = 0; i < table->n; i++) {
            const hwm_config_field* field = &table->fields[i];
            hwm_config_allowed(field, allowed, sizeof allowed);
            fprintf(out, "  %s.%s = %s\n      %s\n      %s\n", table->section, field->name,
                    field->default_text[0] ? field->default_text : "\"\"", field->help, allowed);
        }
    }
}
