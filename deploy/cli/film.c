#include "film.h"

#include <errno.h>
#include <fcntl.h>
#include <gif_lib.h>
#include <math.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "figure.h"
#include "run_dir.h"

typedef enum film_kind { FILM_GIF, FILM_MP4, FILM_FRAMES } film_kind;

struct hwm_film {
    film_kind kind;
    char path[HWM_PATH_MAX];
    int width, height, frames;
    bool failed;
    GifFileType* gif;
    int delay_cs;    // hundredths of a second per frame
    uint8_t* index;  // (height, width) into the palette
    pid_t ffmpeg;
    int pipe;  // its standard input
};

static bool ends_with(const char* text, const char* end) {
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

// ---- GIF: one palette for all frames, 6 x 7 x 6 levels of red, green and blue, and four greys
// between

static uint8_t palette_index(const uint8_t* rgb) {
    int r = (rgb[0] * 5 + 127) / 255, g = (rgb[1] * 6 + 127) / 255, b = (rgb[2] * 5 + 127) / 255;
    return (uint8_t)((r * 7 + g) * 6 + b);
}

static hwm_status gif_open(hwm_film* f, hwm_error* err) {
    int code = 0;
    GifColorType colour[256] = {{0, 0, 0}};
    for (int i = 0; i < 252; i++) {
        colour[i].Red = (GifByteType)(i / 42 * 255 / 5);
        colour[i].Green = (GifByteType)(i / 6 % 7 * 255 / 6);
        colour[i].Blue = (GifByteType)(i % 6 * 255 / 5);
    }
    f->index = malloc((size_t)f->width * (size_t)f->height);
    ColorMapObject* map = GifMakeMapObject(256, colour);
    int file = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    f->gif = f->index && map && file >= 0 ? EGifOpenFileHandle(file, &code) : NULL;
    hwm_status s = HWM_OK;
    if (!f->gif) {
        s = hwm_fail(err, HWM_EIO, "cannot write %s: %s", f->path, strerror(errno));
    } else {
        EGifSetGifVersion(f->gif, true);
        // shown again and again
        static const unsigned char forever[] = {1, 0, 0};
        if (EGifPutScreenDesc(f->gif, f->width, f->height, 8, 0, map) != GIF_OK ||
            EGifPutExtensionLeader(f->gif, APPLICATION_EXT_FUNC_CODE) != GIF_OK ||
            EGifPutExtensionBlock(f->gif, 11, "NETSCAPE2.0") != GIF_OK ||
            EGifPutExtensionBlock(f->gif, 3, forever) != GIF_OK ||
            EGifPutExtensionTrailer(f->gif) != GIF_OK) {
            s = hwm_fail(err, HWM_EIO, "cannot write %s", f->path);
        }
    }
    GifFreeMapObject(map);
    return s;
}

static bool gif_add(hwm_film* f, const uint8_t* rgb) {
    const GraphicsControlBlock control = {.DisposalMode = DISPOSE_DO_NOT,
                                          .DelayTime = f->delay_cs,
                                          .TransparentColor = NO_TRANSPARENT_COLOR};
    GifByteType extension[4];
    EGifGCBToExtension(&control, extension);
    size_t n = (size_t)f->width * (size_t)f->height;
    for (size_t i = 0; i < n; i++) {
        f->index[i] = palette_index(rgb + 3 * i);
    }
    if (EGifPutExtension(f->gif, GRAPHICS_EXT_FUNC_CODE, 4, extension) != GIF_OK ||
        EGifPutImageDesc(f->gif, 0, 0, f->width, f->height, false, NULL) != GIF_OK) {
        return false;
    }
    for (int y = 0; y < f->height; y++) {
        if (EGifPutLine(f->gif, f->index + (size_t)y * (size_t)f->width, f->width) != GIF_OK) {
            return false;
        }
    }
    return true;
}

// ---- MP4: raw frames into ffmpeg's standard input

static hwm_status mp4_open(hwm_film* f, double fps, hwm_error* err) {
    extern char** environ;
    char size[32], rate[32], url[HWM_PATH_MAX + 8];
    int ends[2];
    snprintf(url, sizeof url, "file:%s", f->path);  // neither an option nor a protocol
    snprintf(size, sizeof size, "%dx%d", f->width, f->height);
    snprintf(rate, sizeof rate, "%.6g", fps);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return hwm_fail(err, HWM_EIO, "no pipe to ffmpeg: %s", strerror(errno));
    }
    char* const argv[] = {"ffmpeg",
                          "-loglevel",
                          "error",
                          "-xerror",
                          "-y",
                          "-f",
                          "rawvideo",
                          "-pix_fmt",
                          "rgb24",
                          "-s",
                          size,
                          "-r",
                          rate,
                          "-i",
                          "-",
                          "-pix_fmt",
                          "yuv420p",
                          "-vf",
                          "pad=ceil(iw/2)*2:ceil(ih/2)*2",
                          url,
                          NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    int error = posix_spawnp(&f->ffmpeg, "ffmpeg", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    if (error != 0) {
        close(ends[1]);
        return hwm_fail(err, HWM_ENOTFOUND,
                        "%s needs the program ffmpeg (%s); a .gif or a directory of "
                        "pictures does not",
                        f->path, strerror(error));
    }
    f->pipe = ends[1];
    return HWM_OK;
}

static bool write_all(int fd, const uint8_t* data, size_t n) {
    while (n > 0) {
        ssize_t done = write(fd, data, n);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return false;
        }
        data += done;
        n -= (size_t)done;
    }
    return true;
}

// ---- one picture per frame

static bool frame_add(hwm_film* f, const uint8_t* rgb, hwm_error* err) {
    char path[HWM_PATH_MAX], name[32];
    snprintf(name, sizeof name, "frame-%05d.png", f->frames);
    hwm_figure* figure = NULL;
    if (!hwm_path_join(path, f->path, name) ||
        hwm_figure_create(&figure, path, f->width, f->height, err) != HWM_OK) {
        return false;
    }
    hwm_figure_picture(figure, 0, 0, rgb, f->width, f->height);
    return hwm_figure_finish(&figure, err) == HWM_OK;
}

hwm_status hwm_film_create(hwm_film** out, const char* path, int width, int height, double fps,
                           hwm_error* err) {
    *out = NULL;
    hwm_film* f = calloc(1, sizeof *f);
    if (!f || snprintf(f->path, sizeof f->path, "%s", path) >= (int)sizeof f->path) {
        free(f);
        return hwm_fail(err, f ? HWM_EINVAL : HWM_ENOMEM, "the path is too long: %.80s", path);
    }
    f->width = width;
    f->height = height;
    f->pipe = -1;
    f->delay_cs = (int)lround(100.0 / fps);
    f->delay_cs = f->delay_cs < 2 ? 2 : f->delay_cs;  // viewers slow down what is faster
    f->kind = ends_with(path, ".gif") ? FILM_GIF : ends_with(path, ".mp4") ? FILM_MP4 : FILM_FRAMES;
    hwm_status s = f->kind == FILM_GIF   ? gif_open(f, err)
                   : f->kind == FILM_MP4 ? mp4_open(f, fps, err)
                                         : hwm_path_make(path, err);
    if (s != HWM_OK) {
        f->failed = true;
        hwm_film_finish(&f, NULL);
        return s;
    }
    *out = f;
    return HWM_OK;
}

hwm_status hwm_film_add(hwm_film* f, const uint8_t* rgb, hwm_error* err) {
    bool done = f->kind == FILM_GIF ? gif_add(f, rgb)
                : f->kind == FILM_MP4
                    ? write_all(f->pipe, rgb, 3 * (size_t)f->width * (size_t)f->height)
                    : frame_add(f, rgb, err);
    if (!done) {
        f->failed = true;
        return f->kind == FILM_FRAMES ? HWM_EIO
               : f->kind == FILM_MP4
                   ? hwm_fail(err, HWM_EIO, "cannot write %s: ffmpeg gave up; it says why above",
                              f->path)
                   : hwm_fail(err, HWM_EIO, "cannot write %s: %s", f->path, strerror(errno));
    }
    f->frames++;
    return HWM_OK;
}

hwm_status hwm_film_finish(hwm_film** film, hwm_error* err) {
    hwm_film* f = *film;
    if (!f) {
        return HWM_OK;
    }
    bool was_failed = f->failed;
    if (f->gif) {
        int code = 0;
        f->failed |= EGifCloseFile(f->gif, &code) != GIF_OK;
    }
    if (f->pipe >= 0) {
        close(f->pipe);
    }
    if (f->ffmpeg > 0) {
        int status = 0;
        while (waitpid(f->ffmpeg, &status, 0) < 0 && errno == EINTR) {
        }
        f->failed |= !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    hwm_status s = HWM_OK;
    if (f->failed) {
        if (f->kind != FILM_FRAMES) {
            unlink(f->path);
        }
        s = was_failed ? HWM_EIO
                       : hwm_fail(err, HWM_EIO, "%s could not be completed%s", f->path,
                                  f->kind == FILM_MP4 ? ": ffmpeg says why above" : "");
    }
    free(f->index);
    free(f);
    *film = NULL;
    return s;
}

int hwm_film_frames(const hwm_film* film) {
    return film->frames;
}
