// Statistics of a server as a page of text: what `hwm stats` prints and `hwm top` shows.
#ifndef HWM_CLI_VIEW_H
#define HWM_CLI_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

// Columns of the table of workers that it can be sorted by, in the order of the page.
typedef enum hwm_view_sort {
    HWM_VIEW_RANK,
    HWM_VIEW_HOST,
    HWM_VIEW_STEPS,
    HWM_VIEW_RATE,
    HWM_VIEW_RETURN,
    HWM_VIEW_LAG,
    HWM_VIEW_BLOCKED,
    HWM_VIEW_SORTS
} hwm_view_sort;

typedef struct hwm_view_options {
    int width;   // columns; no line is longer
    int height;  // lines at most, 0: as many as it takes; workers that do not fit are counted in a
                 // last line
    hwm_view_sort sort;
    bool reverse;
    const hwm_json* previous;  // an earlier answer, for rates; NULL: none
    double elapsed_s;          // since then
} hwm_view_options;

const char* hwm_view_sort_name(hwm_view_sort sort);
// Fill text (size); returns the number of lines.
int hwm_view_page(const hwm_json* stats, const hwm_view_options* options, char* text, size_t size);

#endif
