// The YAML reader: libyaml's document tree, walked two levels deep. The only user of libyaml.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/config_internal.h"

static bool scalar_text(const yaml_node_t* node, const char** out) {
    if (node->type != YAML_SCALAR_NODE ||
        strlen((const char*)node->data.scalar.value) != node->data.scalar.length)
        return false;  // a zero byte in the middle would cut the text unseen
    *out = (const char*)node->data.scalar.value;
    return true;
}

static bool scalar_is_null(const yaml_node_t* node) {
    if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char* s = (const char*)node->data.scalar.value;
    return !s[0] || strcmp(s, "~") == 0 || strcmp(s, "null") == 0;
}

// NULL, or what is wrong with the node as the value of a key.
static const char* read_value(yaml_document_t* document, const yaml_node_t* node,
                              hwm_raw_value* out) {
    *out = (hwm_raw_value){.n = 0};
    if (node->type == YAML_SCALAR_NODE) {
        if (!scalar_text(node, &out->item[0]))
            return "text with a zero byte in it";
        out->n = 1;
        out->is_null = scalar_is_null(node);
        return NULL;
    }
    if (node->type == YAML_MAPPING_NODE)
        return "a mapping where a value or a list of values is expected";
    out->is_list = true;
    for (yaml_node_item_t* i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        const yaml_node_t* item = yaml_document_get_node(document, *i);
        if (out->n == HWM_CONFIG_LIST_MAX)
            return "a list with more than 16 items";
        if (item->type != YAML_SCALAR_NODE)
            return "a list of something else than plain values";
        if (!scalar_text(item, &out->item[out->n]))
            return "text with a zero byte in it";
        out->n++;
    }
    return NULL;
}
_Static_assert(HWM_CONFIG_LIST_MAX == 16, "the sentence above names the limit");

static int line_of(const yaml_node_t* node) {
    return (int)node->start_mark.line + 1;
}

// What libyaml says is wrong, and in which line. A byte that is no text has an offset only.
static int parser_line(const yaml_parser_t* parser, const char* text, size_t bytes) {
    if (parser->error != YAML_READER_ERROR)
        return (int)parser->problem_mark.line + 1;
    int line = 1;
    for (size_t i = 0; i < bytes && i < parser->problem_offset; i++)
        line += text[i] == '\n';
    return line;
}

static void walk_section(const char* name, yaml_document_t* document, const char* section,
                         const yaml_node_t* node, hwm_yaml_visit* visit, void* context,
                         hwm_complaints* complaints) {
    if (node->type == YAML_SCALAR_NODE && scalar_is_null(node))
        return;  // "env:" with nothing below: all defaults
    if (node->type != YAML_MAPPING_NODE) {
        hwm_complain(complaints, "%s:%d: %s: a section is a mapping of key: value", name,
                     line_of(node), section);
        return;
    }
    for (yaml_node_pair_t* p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        const yaml_node_t* key_node = yaml_document_get_node(document, p->key);
        const char* key;
        if (!scalar_text(key_node, &key)) {
            hwm_complain(complaints, "%s:%d: %s: a key must be plain text", name, line_of(key_node),
                         section);
            continue;
        }
        hwm_raw_value value;
        const char* wrong =
            read_value(document, yaml_document_get_node(document, p->value), &value);
        if (wrong)
            hwm_complain(complaints, "%s:%d: %s.%.64s: %s", name, line_of(key_node), section, key,
                         wrong);
        else
            visit(context, section, key, &value, line_of(key_node));
    }
}

static void walk_document(const char* name, yaml_document_t* document, hwm_yaml_visit* visit,
                          void* context, hwm_complaints* complaints) {
    const yaml_node_t* root = yaml_document_get_root_node(document);
    if (!root)
        return;  // an empty file: all defaults
    if (root->type != YAML_MAPPING_NODE) {
        hwm_complain(complaints, "%s:%d: an experiment is a mapping of sections", name,
                     line_of(root));
        return;
    }
    for (yaml_node_pair_t* p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
         p++) {
        const yaml_node_t* key_node = yaml_document_get_node(document, p->key);
        const char* section;
        if (!scalar_text(key_node, &section)) {
            hwm_complain(complaints, "%s:%d: the name of a section must be plain text", name,
                         line_of(key_node));
            continue;
        }
        visit(context, section, NULL, NULL, line_of(key_node));
        walk_section(name, document, section, yaml_document_get_node(document, p->value), visit,
                     context, complaints);
    }
}

static void complain_parser(const char* name, const yaml_parser_t* parser, const char* text,
                            size_t bytes, hwm_complaints* complaints) {
    hwm_complain(complaints, "%s:%d: not YAML: %s%s%s", name, parser_line(parser, text, bytes),
                 parser->context ? parser->context : "", parser->context ? ": " : "",
                 parser->problem ? parser->problem : "unreadable");
}

void hwm_yaml_walk(const char* name, const char* text, size_t bytes, hwm_yaml_visit* visit,
                   void* context, hwm_complaints* complaints) {
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) {
        hwm_complain(complaints, "%s:1: out of memory", name);
        return;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char*)text, bytes);
    if (!yaml_parser_load(&parser, &document)) {
        complain_parser(name, &parser, text, bytes, complaints);
        yaml_parser_delete(&parser);
        return;
    }
    walk_document(name, &document, visit, context, complaints);
    yaml_document_delete(&document);
    // what follows a "---" would otherwise be ignored in silence
    if (!yaml_parser_load(&parser, &document)) {
        complain_parser(name, &parser, text, bytes, complaints);
    } else {
        const yaml_node_t* second = yaml_document_get_root_node(&document);
        if (second)
            hwm_complain(complaints, "%s:%d: a second document; one file holds one experiment",
                         name, line_of(second));
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
}

bool hwm_yaml_value(const char* text, hwm_yaml_visit* visit, void* context, char* why,
                    size_t why_bytes) {
    yaml_parser_t parser;
    yaml_document_t document;
    bool ok = false;
    if (!yaml_parser_initialize(&parser)) {
        snprintf(why, why_bytes, "out of memory");
        return false;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char*)text, strlen(text));
    if (!yaml_parser_load(&parser, &document)) {
        snprintf(why, why_bytes, "not YAML: %s", parser.problem ? parser.problem : "unreadable");
    } else {
        const yaml_node_t* root = yaml_document_get_root_node(&document);
        hwm_raw_value value = {.is_null = true, .n = 1, .item = {""}};
        const char* wrong = root ? read_value(&document, root, &value) : NULL;
        if (wrong)
            snprintf(why, why_bytes, "%s", wrong);
        else
            visit(context, NULL, NULL, &value, 1);
        ok = wrong == NULL;
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return ok;
}
