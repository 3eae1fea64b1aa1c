// Inside of the header's writer.
#ifndef HWM_CLI_EXPORT_IMPL_H
#define HWM_CLI_EXPORT_IMPL_H

#include <stdio.h>

#include "export_header.h"
#include "plastic/impl.h"

typedef struct writer {
    FILE* out;
    const char* prefix;
    const hwm_env_spec* spec;
    const hwm_controller* c;
    const hwm_real* coef;
    const hwm_real* delta_scale;  // (obs_dim), NULL without input d
    hwm_export_cost* cost;        // grows with what is written
} writer;

// The function that changes one layer's weights; after the functions of tanh.
void hwm_export_learn_function(writer* w);
// The part of a step that learns, all layers.
void hwm_export_learn(writer* w);

#endif
