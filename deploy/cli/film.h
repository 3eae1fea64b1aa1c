// Films: frames into an animated GIF, an MP4 (by ffmpeg, where there is one), or a directory of PNG
// pictures. The one user of giflib.
#ifndef HWM_CLI_FILM_H
#define HWM_CLI_FILM_H

#include <stdint.h>

#include "base/status.h"

typedef struct hwm_film hwm_film;

// path: ends in .gif or .mp4; anything else is a directory, made here, for frame-00000.png and so
// on. fps: frames per second (a GIF's delays are whole hundredths of a second). HWM_ENOTFOUND: MP4
// without ffmpeg.
hwm_status hwm_film_create(hwm_film** out, const char* path, int width, int height, double fps,
                           hwm_error* err);
// rgb (height, width, 3)
hwm_status hwm_film_add(hwm_film* film, const uint8_t* rgb, hwm_error* err);
// Completes the file and frees; a film that failed is removed where it is one file.
hwm_status hwm_film_finish(hwm_film** film, hwm_error* err);
int hwm_film_frames(const hwm_film* film);

#endif
