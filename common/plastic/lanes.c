// Lanes: from and to (batch, features) rows.
#include <string.h>

#include "plastic/impl.h"

size_t hwm_lanes_size(int batch, int features) {
    return (size_t)hwm_blocks(batch) * (size_t)features * HWM_LANES;
}

// Offset of feature 0 of a sample; its features are HWM_LANES apart.
static size_t origin(int sample, int features) {
    return (size_t)(sample / HWM_LANES) * (size_t)features * HWM_LANES +
           (size_t)(sample % HWM_LANES);
}

void hwm_lanes_pack(hwm_real* lanes, const hwm_real* rows, int batch, int features) {
    memset(lanes, 0, hwm_lanes_size(batch, features) * sizeof *lanes);
    for (int b = 0; b < batch; b++) {
        hwm_real* to = lanes + origin(b, features);
        for (int f = 0; f < features; f++) {
            to[(size_t)f * HWM_LANES] = rows[(size_t)b * (size_t)features + (size_t)f];
        }
    }
}

void hwm_lanes_unpack(hwm_real* rows, const hwm_real* lanes, int batch, int features) {
    for (int b = 0; b < batch; b++) {
        const hwm_real* from = lanes + origin(b, features);
        for (int f = 0; f < features; f++) {
            rows[(size_t)b * (size_t)features + (size_t)f] = from[(size_t)f * HWM_LANES];
        }
    }
}

void hwm_lanes_set(hwm_real* lanes, int sample, int features, const float* row) {
    hwm_real* to = lanes + origin(sample, features);
    for (int f = 0; f < features; f++) {
        to[(size_t)f * HWM_LANES] = (hwm_real)row[f];
    }
}

void hwm_lanes_get(const hwm_real* lanes, int sample, int features, float* row) {
    const hwm_real* from = lanes + origin(sample, features);
    for (int f = 0; f < features; f++) {
        row[f] = (float)from[(size_t)f * HWM_LANES];
    }
}

void hwm_lanes_pack_float(hwm_real* lanes, const float* rows, int batch, int features) {
    memset(lanes, 0, hwm_lanes_size(batch, features) * sizeof *lanes);
    for (int b = 0; b < batch; b++) {
        hwm_lanes_set(lanes, b, features, rows + (size_t)b * (size_t)features);
    }
}

void hwm_lanes_unpack_float(float* rows, const hwm_real* lanes, int batch, int features) {
    for (int b = 0; b < batch; b++) {
        hwm_lanes_get(lanes, b, features, rows + (size_t)b * (size_t)features);
    }
}
