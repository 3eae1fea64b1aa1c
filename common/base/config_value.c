// Values: from text into a struct with its checks, and back into text.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/config_internal.h"

static bool has_bounds(const hwm_config_field* f) {
    return f->min != 0.0 || f->max != 0.0;
}

static bool in_bounds(const hwm_config_field* f, double v) {
    return !has_bounds(f) || (v >= f->min && v <= f->max);
}

// A bound that no sensible value reaches is not worth a word.
static bool is_open(double bound) {
    return fabs(bound) >= 9e15;
}

static void range_text(const hwm_config_field* f, char* out, size_t bytes) {
    out[0] = 0;
    if (!has_bounds(f) || (is_open(f->min) && is_open(f->max)))
        return;
    if (is_open(f->max))
        snprintf(out, bytes, " at least %.15g", f->min);
    else if (is_open(f->min))
        snprintf(out, bytes, " at most %.15g", f->max);
    else
        snprintf(out, bytes, " from %.15g to %.15g", f->min, f->max);
}

// "a|b|c" as "a, b, c".
static void choices_text(const char* choices, char* out, size_t bytes) {
    size_t n = 0;
    for (const char* c = choices; *c && n + 3 < bytes; c++) {
        out[n++] = *c == '|' ? ',' : *c;
        if (*c == '|')
            out[n++] = ' ';
    }
    out[n] = 0;
}

static int string_length_max(const hwm_config_field* f) {
    int limit = HWM_CONFIG_STRING_MAX - 1;
    return has_bounds(f) && f->max < limit ? (int)f->max : limit;
}

void hwm_config_allowed(const hwm_config_field* f, char* out, size_t bytes) {
    char range[96], choices[512] = "";
    range_text(f, range, sizeof range);
    if (f->choices)
        choices_text(f->choices, choices, sizeof choices);
    switch (f->type) {
    case HWM_CONFIG_BOOL:
        snprintf(out, bytes, "true or false");
        break;
    case HWM_CONFIG_INT:
        snprintf(out, bytes, "a whole number%s", range);
        break;
    case HWM_CONFIG_REAL:
        snprintf(out, bytes, "a number%s", range);
        break;
    case HWM_CONFIG_ENUM:
        snprintf(out, bytes, "one of %s", choices);
        break;
    case HWM_CONFIG_STRING:
        if (f->min > 0)
            snprintf(out, bytes, "text of %g to %d bytes", f->min, string_length_max(f));
        else
            snprintf(out, bytes, "text of up to %d bytes", string_length_max(f));
        break;
    case HWM_CONFIG_INTS:
    case HWM_CONFIG_REALS:
        snprintf(out, bytes, "a list of up to %d %s%s%s", HWM_CONFIG_LIST_MAX,
                 f->type == HWM_CONFIG_INTS ? "whole numbers" : "numbers", range[0] ? ", each" : "",
                 range);
        break;
    case HWM_CONFIG_STRINGS:
        if (f->choices)
            snprintf(out, bytes, "a list of up to %d of %s", HWM_CONFIG_LIST_MAX, choices);
        else
            snprintf(out, bytes, "a list of up to %d texts of up to %d bytes", HWM_CONFIG_LIST_MAX,
                     HWM_CONFIG_ITEM_MAX - 1);
        break;
    }
}

// Decimal digits only: strtod would also take "nan", "infinity" and hexadecimal.
static bool parse_real(const char* text, double* out) {
    if (!text[0] || text[strspn(text, "0123456789+-.eE")])
        return false;
    char* end;
    errno = 0;
    double v = strtod(text, &end);
    if (*end || !isfinite(v))
        return false;
    *out = v;
    return true;
}

// Also 1e6: whoever writes it means a million.
static bool parse_int(const char* text, int64_t* out) {
    char* end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end != text && !*end && errno == 0 && text[0] != ' ') {
        *out = v;
        return true;
    }
    double real;
    if (!parse_real(text, &real) || real != floor(real) || fabs(real) > 9007199254740992.0)
        return false;
    *out = (int64_t)real;
    return true;
}

// Index of text in "a|b|c", or -1.
static int find_choice(const char* choices, const char* text) {
    size_t n = strlen(text);
    int index = 0;
    for (const char* c = choices; c; index++) {
        const char* bar = strchr(c, '|');
        size_t length = bar ? (size_t)(bar - c) : strlen(c);
        if (length == n && memcmp(c, text, n) == 0)
            return index;
        c = bar ? bar + 1 : NULL;
    }
    return -1;
}

// Length of the UTF-8 sequence at s and its code point; 0 when it is none.
static int utf8_decode(const unsigned char* s, uint32_t* code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (n == 0)
        return 0;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (int i = 1; i < n; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *code = c;
    return n;
}

static bool is_utf8(const char* text) {
    const unsigned char* s = (const unsigned char*)text;
    uint32_t code;
    while (*s) {
        int n = utf8_decode(s, &code);
        if (n == 0)
            return false;
        s += n;
    }
    return true;
}

// One scalar into out (the field itself, or element i of a list); NULL when it fits, otherwise what
// is wrong with it.
static const char* assign_item(const hwm_config_field* f, void* out, int i, const char* text) {
    int64_t whole;
    double real;
    int choice;
    switch (f->type) {
    case HWM_CONFIG_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return "is neither true nor false";
        *(bool*)out = text[0] == 't';
        return NULL;
    case HWM_CONFIG_INT:
    case HWM_CONFIG_INTS:
        if (!parse_int(text, &whole))
            return "is not a whole number";
        if (!in_bounds(f, (double)whole))
            return "is out of range";
        if (f->type == HWM_CONFIG_INT)
            *(int64_t*)out = whole;
        else
            ((hwm_int_list*)out)->v[i] = whole;
        return NULL;
    case HWM_CONFIG_REAL:
    case HWM_CONFIG_REALS:
        if (!parse_real(text, &real))
            return "is not a number";
        if (!in_bounds(f, real))
            return "is out of range";
        if (f->type == HWM_CONFIG_REAL)
            *(double*)out = real;
        else
            ((hwm_real_list*)out)->v[i] = real;
        return NULL;
    case HWM_CONFIG_ENUM:
        choice = find_choice(f->choices, text);
        if (choice < 0)
            return "is not a choice";
        *(int*)out = choice;
        return NULL;
    case HWM_CONFIG_STRING:
        if (!is_utf8(text))
            return "is not UTF-8 text";
        if (strlen(text) > (size_t)string_length_max(f))
            return "is too long";
        if ((double)strlen(text) < f->min)
            return "is too short";
        memcpy(out, text, strlen(text) + 1);
        return NULL;
    case HWM_CONFIG_STRINGS:
        if (!is_utf8(text))
            return "is not UTF-8 text";
        if (strlen(text) >= HWM_CONFIG_ITEM_MAX)
            return "is too long";
        if (f->choices && find_choice(f->choices, text) < 0)
            return "is not a choice";
        memcpy(((hwm_string_list*)out)->v[i], text, strlen(text) + 1);
        return NULL;
    }
    return "has an unknown type";
}

static bool is_list_type(hwm_config_type type) {
    return type == HWM_CONFIG_INTS || type == HWM_CONFIG_REALS || type == HWM_CONFIG_STRINGS;
}

// Room for the largest field, so that a list that is wrong in its last item changes nothing.
typedef union any_value {
    bool b;
    int e;
    int64_t i;
    double r;
    char s[HWM_CONFIG_STRING_MAX];
    hwm_int_list ints;
    hwm_real_list reals;
    hwm_string_list strings;
} any_value;

static size_t field_bytes(hwm_config_type type) {
    static const size_t bytes[] = {
        [HWM_CONFIG_BOOL] = sizeof(bool),
        [HWM_CONFIG_INT] = sizeof(int64_t),
        [HWM_CONFIG_REAL] = sizeof(double),
        [HWM_CONFIG_ENUM] = sizeof(int),
        [HWM_CONFIG_STRING] = HWM_CONFIG_STRING_MAX,
        [HWM_CONFIG_INTS] = sizeof(hwm_int_list),
        [HWM_CONFIG_REALS] = sizeof(hwm_real_list),
        [HWM_CONFIG_STRINGS] = sizeof(hwm_string_list),
    };
    return bytes[type];
}

bool hwm_config_assign(const hwm_config_field* f, void* target, const hwm_raw_value* value,
                       char* why, size_t why_bytes) {
    char allowed[640];
    hwm_config_allowed(f, allowed, sizeof allowed);
    any_value parsed;
    memset(&parsed, 0, sizeof parsed);
    const bool list = is_list_type(f->type);
    if (value->is_list != list) {
        snprintf(why, why_bytes, "%s; allowed: %s",
                 value->is_list ? "a list where one value is expected"
                                : "one value where a list is expected",
                 allowed);
        return false;
    }
    if (value->is_null && f->type != HWM_CONFIG_STRING) {
        snprintf(why, why_bytes, "no value; allowed: %s", allowed);
        return false;
    }
    for (int i = 0; i < value->n; i++) {
        const char* text = value->is_null ? "" : value->item[i];
        const char* wrong = assign_item(f, &parsed, i, text);
        if (wrong) {
            snprintf(why, why_bytes, "\"%.80s\" %s; allowed: %s", text, wrong, allowed);
            return false;
        }
    }
    if (f->type == HWM_CONFIG_INTS)
        parsed.ints.n = value->n;
    else if (f->type == HWM_CONFIG_REALS)
        parsed.reals.n = value->n;
    else if (f->type == HWM_CONFIG_STRINGS)
        parsed.strings.n = value->n;
    memcpy((char*)target + f->offset, &parsed, field_bytes(f->type));
    return true;
}

typedef struct assignment {
    const hwm_config_field* field;
    void* target;
    char* why;
    size_t why_bytes;
    bool ok;
} assignment;

static void assign_visit(void* context, const char* section, const char* key,
                         const hwm_raw_value* value, int line) {
    (void)section;
    (void)key;
    (void)line;
    assignment* a = context;
    a->ok = hwm_config_assign(a->field, a->target, value, a->why, a->why_bytes);
}

bool hwm_config_assign_text(const hwm_config_field* f, void* target, const char* text, char* why,
                            size_t why_bytes) {
    if (!is_list_type(f->type) && text[0] != '"' && text[0] != '\'') {
        // one plain value: taken as it stands, so that a path or a name needs no quotes
        hwm_raw_value value = {.n = 1, .item = {text}};
        return hwm_config_assign(f, target, &value, why, why_bytes);
    }
    assignment a = {f, target, why, why_bytes, false};
    if (text[0] == '[' || !is_list_type(f->type))
        return hwm_yaml_value(text, assign_visit, &a, why, why_bytes) && a.ok;
    // a list without brackets
    size_t n = strlen(text);
    char* bracketed = malloc(n + 3);
    if (!bracketed) {
        snprintf(why, why_bytes, "out of memory");
        return false;
    }
    bracketed[0] = '[';
    memcpy(bracketed + 1, text, n);
    bracketed[1 + n] = ']';
    bracketed[2 + n] = 0;
    bool ok = hwm_yaml_value(bracketed, assign_visit, &a, why, why_bytes) && a.ok;
    free(bracketed);
    return ok;
}

// 15 digits where they read back to the same bits (0.1 stays 0.1), otherwise as many as it takes.
static void print_real(FILE* out, double v) {
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    fputs(text, out);
}

// Plain where no reader of YAML could take it for something else, otherwise in double quotes and
// ASCII.
static void print_string(FILE* out, const char* text) {
    static const char* const words[] = {"true", "false", "null", "yes", "no",
                                        "on",   "off",   "y",    "n"};
    bool plain = (text[0] >= 'a' && text[0] <= 'z') || text[0] == '/';
    plain = plain && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789_./-")];
    for (size_t i = 0; plain && i < sizeof words / sizeof words[0]; i++)
        plain = strcmp(text, words[i]) != 0;
    if (plain) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    const unsigned char* s = (const unsigned char*)text;
    while (*s) {
        uint32_t code;
        int n = utf8_decode(s, &code);
        if (n == 0) {  // cannot be: assign refuses it
            n = 1;
            code = '?';
        }
        if (code == '"' || code == '\\')
            fprintf(out, "\\%c", (char)code);
        else if (code >= 0x20 && code < 0x7f)
            fputc((char)code, out);
        else
            fprintf(out, code < 0x10000 ? "\\u%04X" : "\\U%08X", code);
        s += n;
    }
    fputc('"', out);
}

static void print_choice(FILE* out, const char* choices, int index) {
    const char* c = choices;
    for (int i = 0; i < index; i++) {
        c += strcspn(c, "|");
        HWM_ASSERT(*c == '|');
        c++;
    }
    fprintf(out, "%.*s", (int)strcspn(c, "|"), c);
}

void hwm_config_print_value(FILE* out, const hwm_config_field* f, const void* target) {
    const void* at = (const char*)target + f->offset;
    const hwm_int_list* ints = at;
    const hwm_real_list* reals = at;
    const hwm_string_list* strings = at;
    switch (f->type) {
    case HWM_CONFIG_BOOL:
        fputs(*(const bool*)at ? "true" : "false", out);
        break;
    case HWM_CONFIG_INT:
        fprintf(out, "%lld", (long long)*(const int64_t*)at);
        break;
    case HWM_CONFIG_REAL:
        print_real(out, *(const double*)at);
        break;
    case HWM_CONFIG_ENUM:
        print_choice(out, f->choices, *(const int*)at);
        break;
    case HWM_CONFIG_STRING:
        print_string(out, at);
        break;
    case HWM_CONFIG_INTS:
        fputc('[', out);
        for (int i = 0; i < ints->n; i++)
            fprintf(out, "%s%lld", i ? ", " : "", (long long)ints->v[i]);
        fputc(']', out);
        break;
    case HWM_CONFIG_REALS:
        fputc('[', out);
        for (int i = 0; i < reals->n; i++) {
            fputs(i ? ", " : "", out);
            print_real(out, reals->v[i]);
        }
        fputc(']', out);
        break;
    case HWM_CONFIG_STRINGS:
        fputc('[', out);
        for (int i = 0; i < strings->n; i++) {
            fputs(i ? ", " : "", out);
            print_string(out, strings->v[i]);
        }
        fputc(']', out);
        break;
    }
}
