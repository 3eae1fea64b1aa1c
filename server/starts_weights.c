// data path  [7] sampler
//
// Priorities of starts, and for every length and exponent that is asked for the tree of their sums.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/index_internal.h"

static double power(double priority, double exponent) {
    return priority > 0 ? pow(priority, exponent) : 0;
}

double hwm_starts_weight_of(const hwm_index* index, const hwm_starts* starts, uint64_t id,
                            uint32_t row) {
    size_t slot = hwm_slot_of(index, id);
    const float* own = index->priority[slot];
    if (hwm_index_spent(index, id, row)) {
        return 0;
    }
    return power(own != NULL ? (double)own[row] : (double)index->initial[slot], starts->exponent);
}

static double weight_of_chunk(const hwm_index* x, const hwm_starts* s, uint64_t id) {
    const hwm_entry* e = hwm_index_entry(x, id);
    uint32_t rows = e->steps > 0 ? hwm_starts_rows(x, s, e) : 0;
    size_t slot = hwm_slot_of(x, id);
    if (x->priority[slot] == NULL) {
        return hwm_starts_left(x, id, 0, rows) * power((double)x->initial[slot], s->exponent);
    }
    double sum = 0;
    for (uint32_t row = 0; row < rows; row++) {
        sum += hwm_starts_weight_of(x, s, id, row);
    }
    return sum;
}

static void weight_set(const hwm_index* x, hwm_starts* s, uint64_t id, double weight) {
    size_t i = x->capacity + hwm_slot_of(x, id);
    s->weight[i] = weight;
    for (i /= 2; i >= 1; i /= 2) {
        s->weight[i] = s->weight[2 * i] + s->weight[2 * i + 1];
    }
}

void hwm_weights_update(hwm_index* index, hwm_starts* starts, uint64_t id) {
    weight_set(index, starts, id, weight_of_chunk(index, starts, id));
}

void hwm_weights_clear(hwm_index* index, hwm_starts* starts, uint64_t id) {
    weight_set(index, starts, id, 0);
}

static void priorities_make(hwm_index* x) {
    if (x->priority != NULL) {
        return;
    }
    x->priority = calloc(x->capacity + 1, sizeof *x->priority);
    x->initial = malloc((x->capacity + 1) * sizeof *x->initial);
    HWM_ASSERT(x->priority != NULL && x->initial != NULL);
    x->highest = 1;
    for (size_t i = 0; i <= x->capacity; i++) {
        x->initial[i] = 1;
    }
}

void hwm_priorities_free(hwm_index* index) {
    for (size_t i = 0; index->priority != NULL && i < index->capacity; i++) {
        free(index->priority[i]);
    }
    free(index->priority);
    free(index->initial);
}

bool hwm_starts_weighed(const hwm_starts* starts, double exponent) {
    return starts->weight != NULL && starts->exponent == exponent;
}

void hwm_weights_build(hwm_index* x, hwm_starts* s) {
    free(s->weight);
    s->weight = calloc(2 * x->capacity + 2, sizeof *s->weight);
    HWM_ASSERT(s->weight != NULL);
    for (uint64_t id = x->oldest; id < x->next; id++) {
        s->weight[x->capacity + hwm_slot_of(x, id)] = weight_of_chunk(x, s, id);
    }
    for (size_t i = x->capacity; i-- > 1;) {
        s->weight[i] = s->weight[2 * i] + s->weight[2 * i + 1];
    }
}

void hwm_index_weigh(hwm_index* index, uint32_t length, double exponent) {
    hwm_index_starts_create(index, length);
    for (int i = 0; i < STARTS_MAX; i++) {
        if (index->starts[i].key == length) {
            priorities_make(index);
            index->starts[i].exponent = exponent;
            hwm_weights_build(index, &index->starts[i]);
        }
    }
}

double hwm_starts_weight(const hwm_starts* starts) {
    return starts->weight[1];
}

void hwm_starts_find_weight(const hwm_index* index, const hwm_starts* starts, double at,
                            uint64_t* id, uint32_t* row) {
    size_t i = 1;
    while (i < index->capacity) {
        // rounding may lead past the last weight: never into a branch that holds none
        double left = starts->weight[2 * i];
        bool right = at >= left && starts->weight[2 * i + 1] > 0;
        at -= right ? left : 0;
        i = 2 * i + right;
    }
    size_t slot = i - index->capacity;
    *id = index->oldest + ((slot - hwm_slot_of(index, index->oldest)) & (index->capacity - 1));
    uint32_t rows = hwm_starts_rows(index, starts, hwm_index_entry(index, *id)), last = 0;
    for (*row = 0; *row < rows; ++*row) {
        double weight = hwm_starts_weight_of(index, starts, *id, *row);
        if (weight > 0) {
            last = *row;
            if (at < weight) {
                return;
            }
            at -= weight;
        }
    }
    *row = last;
}

bool hwm_index_prioritise(hwm_index* index, hwm_stream stream, uint64_t step, double priority) {
    hwm_index* x = index;
    const hwm_stream_info* s = hwm_index_stream(x, stream);
    if (s == NULL || s->head == s->n) {
        return false;
    }
    // the newest chunk of the stream that begins at or before the step
    uint32_t lo = s->head, hi = s->n;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        const hwm_entry* e = hwm_index_entry(x, s->id[mid]);
        if (x->run[e->segment].first_step + e->row <= step) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    uint64_t id = s->id[lo];
    const hwm_entry* e = hwm_index_entry(x, id);
    uint64_t first = x->run[e->segment].first_step + e->row;
    if (step < first || step - first >= e->steps) {
        return false;
    }
    priorities_make(x);
    size_t slot = hwm_slot_of(x, id);
    if (x->priority[slot] == NULL) {
        x->priority[slot] = malloc(e->steps * sizeof(float));
        HWM_ASSERT(x->priority[slot] != NULL);
        for (uint32_t i = 0; i < e->steps; i++) {
            x->priority[slot][i] = x->initial[slot];
        }
    }
    x->priority[slot][step - first] = (float)priority;
    x->highest = (float)priority > x->highest ? (float)priority : x->highest;
    for (int i = 0; i < STARTS_MAX; i++) {
        if (x->starts[i].key != 0 && x->starts[i].weight != NULL) {
            hwm_weights_update(x, &x->starts[i], id);
        }
    }
    return true;
}

bool hwm_index_priorities(const hwm_index* index, uint64_t id, const float** own, float* initial) {
    if (index->priority == NULL || hwm_index_entry(index, id)->steps == 0) {
        return false;
    }
    *own = index->priority[hwm_slot_of(index, id)];
    *initial = index->initial[hwm_slot_of(index, id)];
    return true;
}

void hwm_index_priorities_new(hwm_index* index, uint64_t id) {
    hwm_index* x = index;
    for (id = id > x->oldest ? id : x->oldest; x->priority != NULL && id < x->next; id++) {
        x->initial[hwm_slot_of(x, id)] = x->highest;
    }
}

void hwm_index_priorities_set(hwm_index* index, uint64_t id, const void* own, uint32_t steps,
                              float initial) {
    hwm_index* x = index;
    if (id < x->oldest || id >= x->next || (steps > 0 && hwm_index_entry(x, id)->steps != steps)) {
        return;
    }
    priorities_make(x);
    size_t slot = hwm_slot_of(x, id);
    x->initial[slot] = initial;
    x->highest = initial > x->highest ? initial : x->highest;
    free(x->priority[slot]);
    x->priority[slot] = steps > 0 ? malloc(steps * sizeof(float)) : NULL;
    HWM_ASSERT(steps == 0 || x->priority[slot] != NULL);
    for (uint32_t i = 0; i < steps; i++) {
        memcpy(&x->priority[slot][i], (const uint8_t*)own + i * sizeof(float), sizeof(float));
        x->highest = x->priority[slot][i] > x->highest ? x->priority[slot][i] : x->highest;
    }
}
