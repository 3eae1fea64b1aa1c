// Printing: the whole configuration as YAML, and the reference for --help.
#include <stdlib.h>
#include <string.h>

#include "base/config_internal.h"

static const char* const origin_texts[] = {
    [HWM_ORIGIN_DEFAULT] = "default",
    [HWM_ORIGIN_FILE] = "from the file",
    [HWM_ORIGIN_ENVIRONMENT] = "from the environment",
    [HWM_ORIGIN_SET] = "from --set",
};

char* hwm_config_print(const hwm_config_section* sections, int n, bool comments) {
    char* text = NULL;
    size_t size = 0;
    char allowed[640];
    FILE* f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    for (int s = 0; s < n; s++) {
        const hwm_config_table* table = sections[s].table;
        if (comments)
            fprintf(f, "%s# %s\n", s ? "\n" : "", table->help);
        fprintf(f, "%s:\n", table->section);
        for (int i = 0; i < table->n; i++) {
            const hwm_config_field* field = &table->fields[i];
            if (comments) {
                hwm_config_allowed(field, allowed, sizeof allowed);
                fprintf(f, "  # %s [%s]\n", field->help, allowed);
            }
            fprintf(f, "  %s: ", field->name);
            hwm_config_print_value(f, field, sections[s].target);
            if (comments && sections[s].origin[i] != HWM_ORIGIN_DEFAULT)
                fprintf(f, "  # %s", origin_texts[sections[s].origin[i]]);
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
