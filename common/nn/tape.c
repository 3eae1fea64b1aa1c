// Tape: one reserved block, a bump pointer, and a list of backward calls, newest first.
#include "nn/tape.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 64 };

typedef struct op {
    struct op* older;
    nn_backward_fn backward;
    void* context;
} op;

struct nn_tape {
    unsigned char* base;
    size_t size, used, high_water;
    op* newest;
    bool record;
};

hwm_status nn_tape_create(nn_tape** out, size_t bytes_max) {
    *out = NULL;
    nn_tape* t = calloc(1, sizeof *t);
    if (!t)
        return HWM_ENOMEM;
    // address space only: a page costs memory once it is touched, and stays for the next update
    t->size = (bytes_max + 4095) & ~(size_t)4095;
    void* base = mmap(NULL, t->size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        free(t);
        return HWM_ENOMEM;
    }
    madvise(base, t->size, MADV_HUGEPAGE);  // a hint: refused is fine
    t->base = base;
    t->record = true;
    *out = t;
    return HWM_OK;
}

void nn_tape_destroy(nn_tape** tape) {
    if (!*tape)
        return;
    munmap((*tape)->base, (*tape)->size);
    free(*tape);
    *tape = NULL;
}

void nn_tape_reset(nn_tape* t) {
    t->used = 0;
    t->newest = NULL;
}

void nn_tape_record(nn_tape* t, bool record) {
    t->record = record;
}

size_t nn_tape_used(const nn_tape* t) {
    return t->used;
}
size_t nn_tape_high_water(const nn_tape* t) {
    return t->high_water;
}

static void* take(nn_tape* t, size_t bytes) {
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    HWM_ASSERT(bytes <= t->size - t->used);  // bytes_max of nn_tape_create is too small
    void* p = t->base + t->used;
    t->used += bytes;
    if (t->used > t->high_water)
        t->high_water = t->used;
    return p;
}

void* nn_tape_alloc(nn_tape* t, size_t bytes) {
    return memset(take(t, bytes), 0, bytes);
}

nn_var nn_new(nn_tape* t, int rows, int cols, bool grad) {
    HWM_ASSERT(rows > 0 && cols > 0);
    const size_t bytes = (size_t)rows * (size_t)cols * sizeof(hwm_real);
    nn_var v = take(t, sizeof *v);
    hwm_real* x = take(t, bytes);
    hwm_real* g = grad && t->record ? nn_tape_alloc(t, bytes) : NULL;
    *v = (nn_value){.x = x, .g = g, .rows = rows, .cols = cols};
    return v;
}

nn_var nn_wrap(nn_tape* t, hwm_real* x, hwm_real* g, int rows, int cols) {
    HWM_ASSERT(x && rows > 0 && cols > 0);
    nn_var v = take(t, sizeof *v);
    *v = (nn_value){.x = x, .g = g, .rows = rows, .cols = cols};
    return v;
}

nn_var nn_stop(nn_tape* t, nn_var x) {
    nn_var v = take(t, sizeof *v);
    *v = *x;
    v->g = NULL;
    return v;
}

void nn_custom(nn_tape* t, nn_backward_fn backward, void* context) {
    if (!t->record)
        return;
    op* o = take(t, sizeof *o);
    *o = (op){.older = t->newest, .backward = backward, .context = context};
    t->newest = o;
}

void nn_seed(nn_var loss, hwm_real weight) {
    HWM_ASSERT(loss->g);
    const size_t n = (size_t)loss->rows * (size_t)loss->cols;
    for (size_t i = 0; i < n; i++)
        loss->g[i] += weight;
}

void nn_tape_backward(nn_tape* t) {
    for (op* o = t->newest; o; o = o->older)
        o->backward(o->context);
    t->newest = NULL;
}
