// NumPy archives.
#include "npz.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS_MAX = 128, NAME_MAX_BYTES = 64 };

typedef struct member {
    char name[NAME_MAX_BYTES];
    uint32_t crc, bytes, at;
} member;

struct hwm_npz {
    FILE* file;
    char path[4096], temporary[4112];
    uint64_t at;
    int n;
    bool failed;
    member member[MEMBERS_MAX];
    uint32_t crc_table[256];
};

// The zip format's CRC-32 (polynomial 0xedb88320).
static void crc_init(uint32_t table[256]) {
    for (uint32_t k = 0; k < 256; k++) {
        uint32_t c = k;
        for (int bit = 0; bit < 8; bit++) {
            c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        }
        table[k] = c;
    }
}

static uint32_t crc32_of(const uint32_t table[256], uint32_t crc, const void* data, size_t n) {
    const uint8_t* p = data;
    crc = ~crc;
    for (size_t k = 0; k < n; k++) {
        crc = table[(crc ^ p[k]) & 255] ^ (crc >> 8);
    }
    return ~crc;
}

static void put(hwm_npz* z, const void* data, size_t n) {
    z->failed |= fwrite(data, 1, n, z->file) != n;
    z->at += n;
    z->failed |= z->at > UINT32_MAX;
}

static void put16(hwm_npz* z, unsigned v) {
    put(z, (uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8)}, 2);
}

static void put32(hwm_npz* z, uint32_t v) {
    put16(z, v & 0xffff);
    put16(z, v >> 16);
}

hwm_status hwm_npz_create(hwm_npz** out, const char* path, hwm_error* err) {
    *out = NULL;
    hwm_npz* z = calloc(1, sizeof *z);
    if (!z || strlen(path) >= sizeof z->path) {
        free(z);
        return hwm_fail(err, HWM_ENOMEM, "no memory to write %s", path);
    }
    memcpy(z->path, path, strlen(path));
    snprintf(z->temporary, sizeof z->temporary, "%s.new", z->path);
    z->file = fopen(z->temporary, "wb");
    if (!z->file) {
        hwm_fail(err, HWM_EIO, "%s cannot be written: %s", z->temporary, strerror(errno));
        free(z);
        return HWM_EIO;
    }
    crc_init(z->crc_table);
    *out = z;
    return HWM_OK;
}

// Fields that the local header and the directory share.
static void put_common(hwm_npz* z, const member* m) {
    put16(z, 20);  // version needed
    put16(z, 0);   // flags
    put16(z, 0);   // stored
    put16(z, 0);   // time
    put16(z, 33);  // date: 1980-01-01, so that equal content gives equal files
    put32(z, m->crc);
    put32(z, m->bytes);
    put32(z, m->bytes);
    put16(z, (unsigned)strlen(m->name));
    put16(z, 0);
}

void hwm_npz_add(hwm_npz* z, const char* name, const char* descr, size_t item_bytes, int ndim,
                 const size_t* shape, const void* data) {
    HWM_ASSERT(z->n < MEMBERS_MAX && strlen(name) + 5 < NAME_MAX_BYTES);
    // header of .npy 1.0: padded with spaces so that the data begin at a multiple of 64
    char dims[128] = "", header[256];
    size_t count = 1, used = 0;
    for (int k = 0; k < ndim; k++) {
        used += (size_t)snprintf(dims + used, sizeof dims - used, "%zu,", shape[k]);
        count *= shape[k];
    }
    int n = snprintf(header, sizeof header,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims);
    size_t padded = ((size_t)n + 1 + 10 + 63) / 64 * 64 - 10;
    memset(header + n, ' ', padded - (size_t)n);
    header[padded - 1] = '\n';
    uint8_t magic[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)padded, (uint8_t)(padded >> 8)};

    const size_t bytes = count * item_bytes, total = sizeof magic + padded + bytes;
    z->failed |= total > UINT32_MAX;
    member* m = &z->member[z->n++];
    snprintf(m->name, sizeof m->name, "%s.npy", name);
    m->bytes = (uint32_t)total;
    m->at = (uint32_t)z->at;
    m->crc = crc32_of(z->crc_table, 0, magic, sizeof magic);
    m->crc = crc32_of(z->crc_table, m->crc, header, padded);
    m->crc = crc32_of(z->crc_table, m->crc, data, bytes);
    put32(z, 0x04034b50);
    put_common(z, m);
    put(z, m->name, strlen(m->name));
    put(z, magic, sizeof magic);
    put(z, header, padded);
    put(z, data, bytes);
}

hwm_status hwm_npz_close(hwm_npz** npz, hwm_error* err) {
    hwm_npz* z = *npz;
    if (!z) {
        return HWM_OK;
    }
    const uint64_t directory = z->at;
    for (int k = 0; k < z->n; k++) {
        const member* m = &z->member[k];
        put32(z, 0x02014b50);
        put16(z, 20);
        put_common(z, m);
        put16(z, 0);  // comment
        put16(z, 0);  // disk
        put16(z, 0);  // internal attributes
        put32(z, 0);
        put32(z, m->at);
        put(z, m->name, strlen(m->name));
    }
    const uint64_t size = z->at - directory;
    put32(z, 0x06054b50);
    put32(z, 0);
    put16(z, (unsigned)z->n);
    put16(z, (unsigned)z->n);
    put32(z, (uint32_t)size);
    put32(z, (uint32_t)directory);
    put16(z, 0);
    hwm_status s = HWM_OK;
    bool failed = z->failed || ferror(z->file);
    failed |= fclose(z->file) != 0;
    if (failed || rename(z->temporary, z->path) != 0) {
        s = hwm_fail(err, HWM_EIO,
                     z->at > UINT32_MAX ? "%s would exceed 4 GiB: ask for fewer steps"
                                        : "%s cannot be written",
                     z->path);
        remove(z->temporary);
    }
    free(z);
    *npz = NULL;
    return s;
}
