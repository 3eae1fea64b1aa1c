// safetensors: a strict writer and a strict reader (only what the format allows, every number
// checked against the file's size).
#include "nn/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_BYTES_MAX = 4 << 20 };

// ---- writing

typedef struct text {
    char* s;
    size_t used, size;
    bool failed;
} text;

static void put(text* t, const char* s, size_t n) {
    if (t->used + n + 1 > t->size) {
        const size_t size = 2 * (t->used + n + 1);
        char* more = realloc(t->s, size);
        if (!more) {
            t->failed = true;
            return;
        }
        t->s = more;
        t->size = size;
    }
    memcpy(t->s + t->used, s, n);
    t->used += n;
    t->s[t->used] = 0;
}

__attribute__((format(printf, 2, 3))) static void put_format(text* t, const char* format, ...) {
    char line[256];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    HWM_ASSERT(n >= 0 && (size_t)n < sizeof line);
    put(t, line, (size_t)n);
}

static void put_string(text* t, const char* s) {
    put(t, "\"", 1);
    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            put_format(t, "\\%c", c);
        else if (c < 0x20)
            put_format(t, "\\u%04x", c);
        else
            put(t, s, 1);
    }
    put(t, "\"", 1);
}

static void put_header(text* t, const hwm_param_list* list, const nn_meta* meta, int n_meta) {
    put(t, "{", 1);
    if (n_meta > 0) {
        put_string(t, "__metadata__");
        put(t, ":{", 2);
        for (int i = 0; i < n_meta; i++) {
            put(t, ",", i > 0);
            put_string(t, meta[i].key);
            put(t, ":", 1);
            put_string(t, meta[i].text);
        }
        put(t, "}", 1);
    }
    for (int i = 0; i < list->n; i++) {
        const hwm_param_entry* e = &list->entry[i];
        put(t, ",", i > 0 || n_meta > 0);
        put_string(t, e->spec.name);
        put_format(t, ":{\"dtype\":\"F32\",\"shape\":[");
        for (int d = 0; d < e->spec.ndim; d++)
            put_format(t, "%s%" PRIu32, d ? "," : "", e->spec.shape[d]);
        const size_t from = e->offset * sizeof(float);
        put_format(t, "],\"data_offsets\":[%zu,%zu]}", from,
                   from + hwm_tensor_count(&e->spec) * sizeof(float));
    }
    put(t, "}", 1);
    // the data start on a multiple of 8
    while (t->used % 8 && !t->failed)
        put(t, " ", 1);
}

static bool write_all(int fd, const void* data, size_t n) {
    const char* p = data;
    while (n > 0) {
        const ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

// A name is durable only after its directory is.
static void sync_directory(const char* path) {
    char directory[4096];
    const char* slash = strrchr(path, '/');
    if (!slash)
        snprintf(directory, sizeof directory, ".");
    else
        snprintf(directory, sizeof directory, "%.*s", (int)(slash == path ? 1 : slash - path),
                 path);
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

hwm_status nn_safetensors_write(const char* path, const hwm_param_list* list, const float* values,
                                const nn_meta* meta, int n_meta, hwm_error* err) {
    char temporary[4096];
    const int length = snprintf(temporary, sizeof temporary, "%s.tmp.%ld", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary)
        return hwm_fail(err, HWM_EINVAL, "path of %zu bytes is too long: %.60s...", strlen(path),
                        path);
    text header = {0};
    put_header(&header, list, meta, n_meta);
    if (header.failed) {
        free(header.s);
        return hwm_fail(err, HWM_ENOMEM, "out of memory while writing '%s'", path);
    }
    unsigned char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)header.used >> (8 * i));

    const int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write_all(fd, size, sizeof size) && write_all(fd, header.s, header.used) &&
              write_all(fd, values, list->count * sizeof(float)) && fsync(fd) == 0;
    int reason = errno;
    free(header.s);
    if (fd >= 0 && close(fd) != 0 && ok) {
        ok = false;
        reason = errno;
    }
    if (ok && rename(temporary, path) != 0) {
        ok = false;
        reason = errno;
    }
    if (!ok) {
        if (fd >= 0)
            unlink(temporary);
        return hwm_fail(err, reason == ENOSPC || reason == EDQUOT ? HWM_EFULL : HWM_EIO,
                        "cannot write '%s': %s", path, strerror(reason));
    }
    sync_directory(path);
    return HWM_OK;
}

// ---- reading: a cursor over the header

typedef struct cursor {
    const char *at, *end;
    bool bad;
} cursor;

static void skip_space(cursor* c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static bool take(cursor* c, char expected) {
    skip_space(c);
    if (c->bad || c->at >= c->end || *c->at != expected)
        return false;
    c->at++;
    return true;
}

static void want(cursor* c, char expected) {
    if (!take(c, expected))
        c->bad = true;
}

// A string without surrogate escapes; longer than size - 1 bytes is refused.
static void read_string(cursor* c, char* out, size_t size) {
    size_t n = 0;
    want(c, '"');
    while (!c->bad && c->at < c->end && *c->at != '"') {
        unsigned char ch = (unsigned char)*c->at++;
        if (ch < 0x20) {
            c->bad = true;
        } else if (ch == '\\') {
            const char e = c->at < c->end ? *c->at++ : 0;
            const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t",
                       *known = e ? strchr(from, e) : NULL;
            if (known) {
                ch = (unsigned char)to[known - from];
            } else if (e == 'u' && c->end - c->at >= 4) {
                unsigned value = 0;
                for (int i = 0; i < 4; i++) {
                    const char h = *c->at++;
                    const char* hex = "0123456789abcdef";
                    const char* digit = strchr(hex, h >= 'A' && h <= 'F' ? h + 32 : h);
                    c->bad = c->bad || !h || !digit;
                    value = value * 16 + (digit && h ? (unsigned)(digit - hex) : 0);
                }
                c->bad = c->bad || value == 0 || value > 0x7f;
                ch = (unsigned char)value;
            } else {
                c->bad = true;
            }
        }
        if (n + 1 >= size)
            c->bad = true;
        else
            out[n++] = (char)ch;
    }
    out[n] = 0;
    want(c, '"');
}

static uint64_t read_number(cursor* c) {
    skip_space(c);
    uint64_t value = 0;
    int digits = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && digits < 18) {
        value = value * 10 + (uint64_t)(*c->at++ - '0');
        digits++;
    }
    if (digits == 0 || (c->at < c->end && *c->at >= '0' && *c->at <= '9'))
        c->bad = true;
    return value;
}

typedef struct tensor_entry {
    hwm_tensor_spec spec;
    uint64_t from, to;  // bytes
} tensor_entry;

typedef struct file_header {
    int n, n_meta;
    tensor_entry tensor[HWM_PARAMS_MAX];
    nn_meta meta[NN_META_MAX];
} file_header;

static void read_metadata(cursor* c, file_header* h) {
    want(c, '{');
    if (take(c, '}'))
        return;
    do {
        nn_meta m = {{0}, {0}};
        read_string(c, m.key, sizeof m.key);
        want(c, ':');
        read_string(c, m.text, sizeof m.text);
        if (h->n_meta < NN_META_MAX)
            h->meta[h->n_meta++] = m;
    } while (!c->bad && take(c, ','));
    want(c, '}');
}

static hwm_dtype dtype_of(const char* name) {
    return !strcmp(name, "F32")   ? HWM_F32
           : !strcmp(name, "F64") ? HWM_F64_T
           : !strcmp(name, "I64") ? HWM_I64
           : !strcmp(name, "I32") ? HWM_I32
           : !strcmp(name, "U8")  ? HWM_U8
                                  : (hwm_dtype)0;
}

static void read_tensor(cursor* c, tensor_entry* e) {
    bool have_dtype = false, have_shape = false, have_offsets = false;
    want(c, '{');
    do {
        char key[16], dtype[16];
        read_string(c, key, sizeof key);
        want(c, ':');
        if (!strcmp(key, "dtype")) {
            read_string(c, dtype, sizeof dtype);
            e->spec.dtype = dtype_of(dtype);
            have_dtype = e->spec.dtype != 0;
        } else if (!strcmp(key, "shape")) {
            want(c, '[');
            have_shape = true;
            if (!take(c, ']')) {
                do {
                    const uint64_t size = read_number(c);
                    if (e->spec.ndim >= HWM_NDIM_MAX || size > INT32_MAX)
                        c->bad = true;
                    else
                        e->spec.shape[e->spec.ndim++] = (uint32_t)size;
                } while (!c->bad && take(c, ','));
                want(c, ']');
            }
        } else if (!strcmp(key, "data_offsets")) {
            want(c, '[');
            e->from = read_number(c);
            want(c, ',');
            e->to = read_number(c);
            want(c, ']');
            have_offsets = true;
        } else {
            c->bad = true;
        }
    } while (!c->bad && take(c, ','));
    want(c, '}');
    c->bad = c->bad || !have_dtype || !have_shape || !have_offsets;
}

// The whole header, or HWM_ECORRUPT with what is wrong.
static hwm_status parse(const char* path, const char* json, size_t size, uint64_t data_bytes,
                        file_header* h, hwm_error* err) {
    cursor c = {.at = json, .end = json + size};
    want(&c, '{');
    if (!take(&c, '}')) {
        do {
            char name[HWM_NAME_MAX];
            read_string(&c, name, sizeof name);
            want(&c, ':');
            if (!strcmp(name, "__metadata__")) {
                read_metadata(&c, h);
                continue;
            }
            if (h->n >= HWM_PARAMS_MAX)
                return hwm_fail(err, HWM_ECORRUPT, "'%s' holds more than %d tensors", path,
                                HWM_PARAMS_MAX);
            tensor_entry* e = &h->tensor[h->n++];
            memcpy(e->spec.name, name, sizeof name);
            read_tensor(&c, e);
            if (c.bad)
                break;
            // overflow-free: four extents below 2^31 are multiplied step by step against the file's
            // size
            uint64_t bytes = hwm_dtype_bytes(e->spec.dtype);
            for (int d = 0; d < e->spec.ndim && bytes; d++)
                bytes = e->spec.shape[d] > data_bytes / bytes && e->spec.shape[d]
                            ? UINT64_MAX >> 1
                            : bytes * e->spec.shape[d];
            if (e->from > e->to || e->to > data_bytes || e->to - e->from != bytes || e->from % 4)
                return hwm_fail(err, HWM_ECORRUPT,
                                "'%s': tensor '%s' claims bytes %llu to %llu of %llu", path, name,
                                (unsigned long long)e->from, (unsigned long long)e->to,
                                (unsigned long long)data_bytes);
            for (int i = 0; i + 1 < h->n; i++)
                if (!strcmp(h->tensor[i].spec.name, name))
                    return hwm_fail(err, HWM_ECORRUPT, "'%s': tensor '%s' appears twice", path,
                                    name);
        } while (!c.bad && take(&c, ','));
        want(&c, '}');
    }
    skip_space(&c);
    if (c.bad || c.at != c.end)
        return hwm_fail(err, HWM_ECORRUPT, "'%s': the header is not valid at byte %zu of %zu", path,
                        (size_t)(c.at - json), size);
    return HWM_OK;
}

static hwm_status read_all(int fd, void* out, size_t n) {
    char* p = out;
    while (n > 0) {
        const ssize_t done = read(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return HWM_EIO;
        if (done == 0)
            return HWM_ECORRUPT;
        p += done;
        n -= (size_t)done;
    }
    return HWM_OK;
}

// Opens the file and reads its header. *fd is left at the first byte of the data: caller closes.
static hwm_status open_header(const char* path, int* fd, file_header* h, hwm_error* err) {
    memset(h, 0, sizeof *h);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return hwm_fail(err, errno == ENOENT ? HWM_ENOTFOUND : HWM_EIO, "cannot read '%s': %s",
                        path, strerror(errno));
    struct stat st;
    unsigned char size_bytes[8];
    if (fstat(*fd, &st) != 0 || st.st_size < 8 || read_all(*fd, size_bytes, 8) != HWM_OK)
        return hwm_fail(err, HWM_ECORRUPT, "'%s' is too short for a safetensors file", path);
    uint64_t size = 0;
    for (int i = 0; i < 8; i++)
        size |= (uint64_t)size_bytes[i] << (8 * i);
    if (size < 2 || size > HEADER_BYTES_MAX || size > (uint64_t)st.st_size - 8)
        return hwm_fail(err, HWM_ECORRUPT, "'%s': a header of %llu bytes in a file of %lld bytes",
                        path, (unsigned long long)size, (long long)st.st_size);
    char* json = malloc(size);
    if (!json)
        return hwm_fail(err, HWM_ENOMEM, "out of memory while reading '%s'", path);
    hwm_status status = read_all(*fd, json, size);
    if (status != HWM_OK)
        hwm_fail(err, status, "'%s': cannot read its header", path);
    else
        status = parse(path, json, size, (uint64_t)st.st_size - 8 - size, h, err);
    free(json);
    return status;
}

hwm_status nn_safetensors_read(const char* path, const hwm_param_list* list, float* values,
                               hwm_error* err) {
    int fd = -1;
    float* fresh = NULL;
    file_header* h = malloc(sizeof *h);
    hwm_status status = h ? open_header(path, &fd, h, err)
                          : hwm_fail(err, HWM_ENOMEM, "out of memory while reading '%s'", path);
    if (status != HWM_OK)
        goto done;

    // every tensor of the list must be there with its shape, and nothing else
    for (int i = 0; i < h->n; i++)
        if (hwm_param_list_find(list, h->tensor[i].spec.name) < 0) {
            status = hwm_fail(err, HWM_ESIGNATURE, "'%s' holds an unknown tensor '%s'", path,
                              h->tensor[i].spec.name);
            goto done;
        }
    fresh = malloc(list->count * sizeof(float) + 1);
    if (!fresh) {
        status = hwm_fail(err, HWM_ENOMEM, "out of memory while reading '%s'", path);
        goto done;
    }
    const off_t data = lseek(fd, 0, SEEK_CUR);
    for (int i = 0; i < list->n; i++) {
        const hwm_param_entry* e = &list->entry[i];
        const tensor_entry* found = NULL;
        for (int j = 0; j < h->n && !found; j++)
            found = strcmp(h->tensor[j].spec.name, e->spec.name) ? NULL : &h->tensor[j];
        if (!found) {
            status = hwm_fail(err, HWM_ENOTFOUND, "'%s' has no tensor '%s'", path, e->spec.name);
            goto done;
        }
        if (!hwm_tensor_spec_equal(&found->spec, &e->spec)) {
            char a[128], b[128];
            status = hwm_fail(err, HWM_ESIGNATURE, "'%s' holds %s, expected %s", path,
                              hwm_tensor_spec_text(&found->spec, a, sizeof a),
                              hwm_tensor_spec_text(&e->spec, b, sizeof b));
            goto done;
        }
        status = lseek(fd, data + (off_t)found->from, SEEK_SET) < 0
                     ? HWM_EIO
                     : read_all(fd, fresh + e->offset, found->to - found->from);
        if (status != HWM_OK) {
            hwm_fail(err, status, "'%s': cannot read tensor '%s'", path, e->spec.name);
            goto done;
        }
    }
    memcpy(values, fresh, list->count * sizeof(float));
done:
    if (fd >= 0)
        close(fd);
    free(fresh);
    free(h);
    return status;
}

static int by_offset(const void* a, const void* b) {
    const tensor_entry *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

hwm_status nn_safetensors_list(const char* path, hwm_param_list* list, nn_meta* meta, int* n_meta,
                               hwm_error* err) {
    hwm_param_list_init(list);
    int fd = -1;
    file_header* h = malloc(sizeof *h);
    hwm_status status = h ? open_header(path, &fd, h, err)
                          : hwm_fail(err, HWM_ENOMEM, "out of memory while reading '%s'", path);
    if (status != HWM_OK)
        goto done;
    qsort(h->tensor, (size_t)h->n, sizeof h->tensor[0], by_offset);
    for (int i = 0; i < h->n; i++)
        if (h->tensor[i].spec.dtype == HWM_F32)
            hwm_param_list_add(list, h->tensor[i].spec);
    if (n_meta) {
        const int room = meta ? *n_meta : 0;
        *n_meta = h->n_meta;
        for (int i = 0; i < h->n_meta && i < room; i++)
            meta[i] = h->meta[i];
    }
done:
    if (fd >= 0)
        close(fd);
    free(h);
    return status;
}
