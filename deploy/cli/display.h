// How a run is shown: one block that is redrawn in place on a terminal, a plain line per interval
// elsewhere, or JSON lines.
#ifndef HWM_CLI_DISPLAY_H
#define HWM_CLI_DISPLAY_H

#include <stdbool.h>

#include "progress.h"

typedef enum hwm_display_mode {
    HWM_DISPLAY_LIVE,   // a terminal: redrawn in place
    HWM_DISPLAY_LINES,  // a pipe, a file, TERM=dumb
    HWM_DISPLAY_JSON,   // metrics lines as they are
} hwm_display_mode;

enum { HWM_DISPLAY_LINES_MAX = 16 };

typedef struct hwm_display {
    hwm_display_mode mode;
    bool utf8;
    bool colour;
    int drawn_lines;                           // of the block on the screen
    int drawn_columns[HWM_DISPLAY_LINES_MAX];  // of each
    double last_s;                             // hwm_clock_s of the last line or drawing
    bool closed;                               // standard output cannot be written any more
} hwm_display;

void hwm_display_open(hwm_display* display, bool json);
// Call often; draws when it is time (live: twice a second, lines: every 5 s, and whenever now is
// set).
void hwm_display_update(hwm_display* display, const hwm_progress* progress, bool now);
// A sentence that stays: above the block on a terminal; on standard error where standard output is
// JSON.
void hwm_display_note(hwm_display* display, const char* sentence);
void hwm_display_json(hwm_display* display, const char* line);
// Leaves the block where it is and gives the cursor back.
void hwm_display_close(hwm_display* display);

// For the tests: the block as text, one '\n' per line, no line wider than width columns. Returns
// the number of lines.
int hwm_display_block(const hwm_progress* progress, int width, bool utf8, bool colour, char* text,
                      size_t size);
// Rows that lines of so many columns take on a terminal of this width, which has wrapped what is
// too long for it.
int hwm_display_rows(const int* columns, int lines, int width);
// "1h02m", "3m07s", "12s"; "-" when not known.
void hwm_display_duration(double seconds, char* text, size_t size);
// "1,234,567"; "-" when not known.
void hwm_display_count(double value, char* text, size_t size);
// "1.23 MB"; "0.0123", "123"; "-" when not known.
void hwm_display_bytes(double bytes, char* text, size_t size);
void hwm_display_number(double value, char* text, size_t size);
// A line of n block characters (utf8) or of "_.-=#" from values; returns bytes written.
int hwm_display_sparkline(const double* values, int n_values, int columns, bool utf8, char* text,
                          size_t size);

#endif
