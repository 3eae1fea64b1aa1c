// Loading: defaults, file, environment and overrides, in this order, with every complaint gathered.
#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/command.h"
#include "base/config_internal.h"

enum { CONFIG_FILE_BYTES_MAX = 1 << 20, NAME_BYTES_MAX = 64, WHY_BYTES = 1024 };

extern char** environ;

void hwm_complain(hwm_complaints* c, const char* format, ...) {
    enum { ROOM_FOR_COUNT = 64 };
    c->n++;
    if (!c->err)
        return;
    char* text = c->err->text;
    const size_t room = sizeof c->err->text - ROOM_FOR_COUNT;
    char line[2 * WHY_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    // what was quoted from the file must neither break the line nor command the terminal
    for (char* b = line; *b; b++)
        if ((unsigned char)*b < 0x20 || *b == 0x7f)
            *b = '?';
    size_t n = strlen(line);
    if (c->left_out == 0 && c->used + n + 2 <= room) {
        if (c->used)
            text[c->used++] = '\n';
        memcpy(text + c->used, line, n + 1);
        c->used += n;
    } else {
        c->left_out++;
        snprintf(text + c->used, sizeof c->err->text - c->used, "\n... and %d more", c->left_out);
    }
}

static hwm_config_section* find_section(hwm_config_section* sections, int n, const char* name) {
    for (int i = 0; i < n; i++)
        if (strcmp(sections[i].table->section, name) == 0)
            return &sections[i];
    return NULL;
}

static int find_field(const hwm_config_table* table, const char* name) {
    for (int i = 0; i < table->n; i++)
        if (strcmp(table->fields[i].name, name) == 0)
            return i;
    return -1;
}

void hwm_config_defaults(hwm_config_section* sections, int n) {
    char why[WHY_BYTES];
    for (int s = 0; s < n; s++) {
        const hwm_config_table* table = sections[s].table;
        HWM_ASSERT(table->n <= HWM_CONFIG_FIELDS_MAX);
        for (int i = 0; i < table->n; i++) {
            bool ok = hwm_config_assign_text(&table->fields[i], sections[s].target,
                                             table->fields[i].default_text, why, sizeof why);
            if (!ok)
                fprintf(stderr, "default of %s.%s: %s\n", table->section, table->fields[i].name,
                        why);
            HWM_ASSERT(ok);
            sections[s].origin[i] = HWM_ORIGIN_DEFAULT;
            sections[s].line[i] = 0;
        }
    }
}

typedef struct loader {
    hwm_config_section* sections;
    int n;
    const char* name;  // of the file, for complaints
    hwm_complaints complaints;
    int section_line[HWM_CONFIG_FIELDS_MAX];  // where a section stood; 0: not yet
    int field_line[HWM_CONFIG_FIELDS_MAX];    // of the section at hand
    hwm_config_section* current;
} loader;

// "; did you mean x?", a key of the same name elsewhere, or the list of what there is.
static void suggest_key(const loader* l, const hwm_config_table* table, const char* key, char* out,
                        size_t bytes) {
    const char* names[HWM_CONFIG_FIELDS_MAX];
    for (int i = 0; i < table->n; i++)
        names[i] = table->fields[i].name;
    for (int s = 0; s < l->n; s++) {
        if (l->sections[s].table != table && find_field(l->sections[s].table, key) >= 0) {
            snprintf(out, bytes, "did you mean %s.%s?", l->sections[s].table->section, key);
            return;
        }
    }
    const char* nearest = hwm_nearest_name(key, names, table->n);
    if (nearest) {
        snprintf(out, bytes, "did you mean %s?", nearest);
        return;
    }
    size_t used = (size_t)snprintf(out, bytes, "known keys:");
    for (int i = 0; i < table->n && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s %s", i ? "," : "", names[i]);
}

static void suggest_section(const loader* l, const char* section, char* out, size_t bytes) {
    const char* names[HWM_CONFIG_FIELDS_MAX];
    for (int i = 0; i < l->n; i++)
        names[i] = l->sections[i].table->section;
    const char* nearest = hwm_nearest_name(section, names, l->n);
    if (nearest) {
        snprintf(out, bytes, "did you mean %s?", nearest);
        return;
    }
    size_t used = (size_t)snprintf(out, bytes, "known sections:");
    for (int i = 0; i < l->n && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s %s", i ? "," : "", names[i]);
}

static void visit_file(void* context, const char* section, const char* key,
                       const hwm_raw_value* value, int line) {
    loader* l = context;
    char hint[WHY_BYTES];
    if (!key) {
        l->current = find_section(l->sections, l->n, section);
        memset(l->field_line, 0, sizeof l->field_line);
        if (!l->current) {
            suggest_section(l, section, hint, sizeof hint);
            hwm_complain(&l->complaints, "%s:%d: %.64s: unknown section; %s", l->name, line,
                         section, hint);
            return;
        }
        int* seen = &l->section_line[l->current - l->sections];
        if (*seen)
            hwm_complain(&l->complaints, "%s:%d: %s: section given twice, first in line %d",
                         l->name, line, section, *seen);
        *seen = line;
        return;
    }
    if (!l->current)
        return;  // the section has been complained about
    const hwm_config_table* table = l->current->table;
    int i = find_field(table, key);
    if (i < 0) {
        suggest_key(l, table, key, hint, sizeof hint);
        hwm_complain(&l->complaints, "%s:%d: %s.%.64s: unknown key; %s", l->name, line, section,
                     key, hint);
        return;
    }
    if (l->field_line[i])
        hwm_complain(&l->complaints, "%s:%d: %s.%s: given twice, first in line %d", l->name, line,
                     section, key, l->field_line[i]);
    l->field_line[i] = line;
    if (!hwm_config_assign(&table->fields[i], l->current->target, value, hint, sizeof hint))
        hwm_complain(&l->complaints, "%s:%d: %s.%s: %s", l->name, line, section, key, hint);
    l->current->origin[i] = HWM_ORIGIN_FILE;
    l->current->line[i] = line;
}

static hwm_status load_file(loader* l, const char* path, hwm_error* err) {
    FILE* f = fopen(path, "rb");
    if (!f)
        return hwm_fail(err, errno == ENOENT ? HWM_ENOTFOUND : HWM_EIO, "%s: cannot be read: %s",
                        path, strerror(errno));
    char* text = malloc(CONFIG_FILE_BYTES_MAX + 1);
    if (!text) {
        fclose(f);
        return hwm_fail(err, HWM_ENOMEM, "%s: out of memory", path);
    }
    errno = 0;
    size_t bytes = fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, f);
    int failed = ferror(f) ? errno : 0;
    fclose(f);
    hwm_status status = HWM_OK;
    if (failed)
        status = hwm_fail(err, HWM_EIO, "%s: cannot be read: %s", path, strerror(failed));
    else if (bytes > CONFIG_FILE_BYTES_MAX)
        status = hwm_fail(err, HWM_EINVAL, "%s: larger than the %d bytes a configuration may have",
                          path, CONFIG_FILE_BYTES_MAX);
    else
        hwm_yaml_walk(path, text, bytes, visit_file, l, &l->complaints);
    free(text);
    return status;
}

void hwm_config_variable(const char* section, const char* field, char* out, size_t bytes) {
    snprintf(out, bytes, "HWM_%s__%s", section, field);
    for (char* c = out; *c; c++)
        *c = (char)toupper((unsigned char)*c);
}

static void load_environment(loader* l) {
    char variable[3 * NAME_BYTES_MAX], why[WHY_BYTES];
    for (int s = 0; s < l->n; s++) {
        hwm_config_section* section = &l->sections[s];
        for (int i = 0; i < section->table->n; i++) {
            const hwm_config_field* field = &section->table->fields[i];
            hwm_config_variable(section->table->section, field->name, variable, sizeof variable);
            const char* text = getenv(variable);
            if (!text)
                continue;
            if (!hwm_config_assign_text(field, section->target, text, why, sizeof why))
                hwm_complain(&l->complaints, "environment %s: %s.%s: %s", variable,
                             section->table->section, field->name, why);
            section->origin[i] = HWM_ORIGIN_ENVIRONMENT;
        }
        // a variable that starts like one of this section's and names no field is a slip of the pen
        hwm_config_variable(section->table->section, "", variable, sizeof variable);
        size_t prefix = strlen(variable);
        for (char** e = environ; e && *e; e++) {
            if (strncmp(*e, variable, prefix) != 0)
                continue;
            char key[NAME_BYTES_MAX];
            size_t length = strcspn(*e + prefix, "=");
            if (length >= sizeof key)
                length = sizeof key - 1;
            for (size_t c = 0; c < length; c++)
                key[c] = (char)tolower((unsigned char)(*e)[prefix + c]);
            key[length] = 0;
            if (find_field(section->table, key) >= 0)
                continue;
            suggest_key(l, section->table, key, why, sizeof why);
            hwm_complain(&l->complaints, "environment %.*s: %s.%s: unknown key; %s",
                         (int)(prefix + length), *e, section->table->section, key, why);
        }
    }
}

static void load_override(loader* l, const char* override) {
    char section_name[NAME_BYTES_MAX], field_name[NAME_BYTES_MAX], why[WHY_BYTES];
    const char* equals = strchr(override, '=');
    const char* dot = strchr(override, '.');
    if (!equals || !dot || dot > equals || dot - override >= NAME_BYTES_MAX ||
        equals - dot > NAME_BYTES_MAX) {
        hwm_complain(&l->complaints, "--set %.80s: expected section.name=value", override);
        return;
    }
    snprintf(section_name, sizeof section_name, "%.*s", (int)(dot - override), override);
    snprintf(field_name, sizeof field_name, "%.*s", (int)(equals - dot - 1), dot + 1);
    hwm_config_section* section = find_section(l->sections, l->n, section_name);
    if (!section) {
        suggest_section(l, section_name, why, sizeof why);
        hwm_complain(&l->complaints, "--set %s.%s: unknown section; %s", section_name, field_name,
                     why);
        return;
    }
    int i = find_field(section->table, field_name);
    if (i < 0) {
        suggest_key(l, section->table, field_name, why, sizeof why);
        hwm_complain(&l->complaints, "--set %s.%s: unknown key; %s", section_name, field_name, why);
        return;
    }
    if (!hwm_config_assign_text(&section->table->fields[i], section->target, equals + 1, why,
                                sizeof why))
        hwm_complain(&l->complaints, "--set %s.%s: %s", section_name, field_name, why);
    section->origin[i] = HWM_ORIGIN_SET;
}

hwm_status hwm_config_load(hwm_config_section* sections, int n, const char* path, const char* text,
                           const char* const* overrides, int n_overrides, hwm_error* err) {
    HWM_ASSERT(n <= HWM_CONFIG_FIELDS_MAX);
    hwm_config_defaults(sections, n);
    loader l = {.sections = sections, .n = n, .name = path ? path : "<text>"};
    l.complaints.err = err;
    if (text) {
        if (strlen(text) > CONFIG_FILE_BYTES_MAX)
            return hwm_fail(err, HWM_EINVAL,
                            "%s: larger than the %d bytes a configuration may have", l.name,
                            CONFIG_FILE_BYTES_MAX);
        hwm_yaml_walk(l.name, text, strlen(text), visit_file, &l, &l.complaints);
    } else {
        hwm_status status = path ? load_file(&l, path, err) : HWM_OK;
        if (status != HWM_OK)
            return status;
        load_environment(&l);
    }
    for (int i = 0; i < n_overrides; i++)
        load_override(&l, overrides[i]);
    if (l.complaints.n == 0)
        return HWM_OK;
    if (err)
        err->code = HWM_EINVAL;
    return HWM_EINVAL;
}
