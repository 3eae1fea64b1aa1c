// Writes an event file whose values read_events.py knows. usage: write_events DIR
#include <math.h>
#include <stdio.h>

#include "base/events.h"

int main(int argc, char** argv) {
    if (argc != 2)
        return 2;
    hwm_events* e;
    hwm_error err;
    if (hwm_events_create(&e, argv[1], 100, &err) != HWM_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    float values[1000];
    for (int i = 0; i < 1000; i++)
        values[i] = (float)i / 500.0f - 1.0f;
    const float equal[3] = {2.5f, 2.5f, NAN};
    hwm_status status = HWM_OK;
    for (int i = 0; i < 3000 && status == HWM_OK; i++) {  // more than one buffer
        status = hwm_events_scalar(e, 100 + i, "train/return", (float)i * 0.5f);
        if (status == HWM_OK && i % 1000 == 0)
            status = hwm_events_histogram(e, 100 + i, "rule/eta", values, 1000);
    }
    if (status == HWM_OK)
        status = hwm_events_histogram(e, 100 + 3000, "rule/equal", equal, 3);
    if (status == HWM_OK)
        status = hwm_events_scalar(e, (int64_t)1 << 40, "train/nan", NAN);
    hwm_events_destroy(&e);
    return status == HWM_OK ? 0 : 1;
}
