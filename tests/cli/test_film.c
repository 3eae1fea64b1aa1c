// Films: what a GIF holds when an independent reader opens it, frames as pictures, and what is
// refused.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <gif_lib.h>

#include "deploy/cli/commands.h"
#include "deploy/cli/film.h"
#include "small_run.h"

static hwm_error err;

static void test_gif_holds_its_frames_colours_and_delays(void** state) {
    (void)state;
    enum { W = 24, H = 10, FRAMES = 3 };
    // one pure colour each: these are in the palette as they are
    static const uint8_t colour[FRAMES][3] = {{255, 0, 0}, {0, 255, 0}, {255, 255, 255}};
    hwm_film* film = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s", scratch_path("a.gif"));
    assert_int_equal(hwm_film_create(&film, path, W, H, 20.0, &err), HWM_OK);
    for (int k = 0; k < FRAMES; k++) {
        uint8_t rgb[3 * W * H];
        for (int i = 0; i < W * H; i++) {
            memcpy(rgb + 3 * i, colour[k], 3);
        }
        assert_int_equal(hwm_film_add(film, rgb, &err), HWM_OK);
    }
    assert_int_equal(hwm_film_frames(film), FRAMES);
    assert_int_equal(hwm_film_finish(&film, &err), HWM_OK);
    assert_null(film);
    int code = 0;
    GifFileType* gif = DGifOpenFileName(path, &code);
    assert_non_null(gif);
    assert_int_equal(DGifSlurp(gif), GIF_OK);
    assert_int_equal(gif->ImageCount, FRAMES);
    assert_int_equal(gif->SWidth, W);
    assert_int_equal(gif->SHeight, H);
    for (int k = 0; k < FRAMES; k++) {
        GraphicsControlBlock control;
        assert_int_equal(DGifSavedExtensionToGCB(gif, k, &control), GIF_OK);
        assert_int_equal(control.DelayTime, 5);
        GifColorType c = gif->SColorMap->Colors[gif->SavedImages[k].RasterBits[W * H - 1]];
        assert_true(c.Red == colour[k][0] && c.Green == colour[k][1] && c.Blue == colour[k][2]);
    }
    DGifCloseFile(gif, &code);
}

static void test_film_refuses_with_a_sentence(void** state) {
    (void)state;
    hwm_film* film = NULL;
    assert_int_equal(hwm_film_create(&film, "/nonexistent/a.gif", 8, 8, 25.0, &err), HWM_EIO);
    assert_null(film);
    assert_non_null(strstr(err.text, "/nonexistent/a.gif"));
    // without ffmpeg on the path
    char kept[4096];
    snprintf(kept, sizeof kept, "%s", getenv("PATH"));
    setenv("PATH", scratch, 1);
    char path[128];
    snprintf(path, sizeof path, "%s", scratch_path("a.mp4"));
    assert_int_equal(hwm_film_create(&film, path, 8, 8, 25.0, &err), HWM_ENOTFOUND);
    assert_non_null(strstr(err.text, "needs the program ffmpeg"));
    setenv("PATH", kept, 1);
}

// A stand-in for ffmpeg: says what it was asked, keeps what it is fed, ends as told.
static void stand_in(const char* script) {
    const char* path = scratch_path("bin");
    assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
    path = scratch_path("bin/ffmpeg");
    FILE* f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\nfor last; do :; done\nout=${last#file:}\n%s\n", script);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0755), 0);
}

static hwm_status film_three(const char* path) {
    static uint8_t rgb[3 * 8 * 6];
    hwm_film* film = NULL;
    assert_int_equal(hwm_film_create(&film, path, 8, 6, 25.0, &err), HWM_OK);
    hwm_status s = HWM_OK;
    for (int i = 0; s == HWM_OK && i < 3; i++) {
        memset(rgb, i, sizeof rgb);
        s = hwm_film_add(film, rgb, &err);
    }
    hwm_status last = hwm_film_finish(&film, &err);
    return s != HWM_OK ? s : last;
}

static void test_mp4_feeds_every_frame_to_ffmpeg_and_believes_its_exit(void** state) {
    (void)state;
    char kept[4096], path[4200], out[128];
    snprintf(kept, sizeof kept, "%s", getenv("PATH"));
    snprintf(path, sizeof path, "%s:%s", scratch_path("bin"), kept);
    setenv("PATH", path, 1);
    snprintf(out, sizeof out, "%s", scratch_path("a:b.mp4"));  // not a protocol named a

    stand_in("case \"$last\" in file:*) cat >\"$out\";; esac");
    assert_int_equal(film_three(out), HWM_OK);
    uint8_t fed[3 * 3 * 8 * 6 + 1];
    FILE* f = fopen(out, "rb");
    assert_non_null(f);
    assert_int_equal(fread(fed, 1, sizeof fed, f), sizeof fed - 1);
    fclose(f);
    assert_int_equal(fed[0], 0);
    assert_int_equal(fed[3 * 8 * 6], 1);
    assert_int_equal(fed[sizeof fed - 2], 2);

    // half a film is taken away
    stand_in("cat >\"$out\"; exit 1");
    assert_int_equal(film_three(out), HWM_EIO);
    assert_non_null(strstr(err.text, "ffmpeg says why"));
    assert_int_not_equal(access(out, F_OK), 0);
    setenv("PATH", kept, 1);
}

static void test_render_films_a_checkpoint_to_the_end_it_is_given(void** state) {
    (void)state;
    char dir[128], out[128], last[160];
    snprintf(dir, sizeof dir, "%s", small_run_make("run", "env:\n  name: cartpole\n", 1));
    snprintf(out, sizeof out, "%s", scratch_path("frames"));
    char* argv[] = {"hwm", "render",   "--checkpoint", dir,     "--out", out,       "--width",
                    "120", "--height", "180",          "--fps", "50",    "--steps", "5"};
    assert_int_equal(hwm_cli_main(14, argv), HWM_EXIT_DONE);
    // a frame for every decision of 0.02 s, the last included
    snprintf(last, sizeof last, "%s/frame-00005.png", out);
    assert_int_equal(access(last, R_OK), 0);
    snprintf(last, sizeof last, "%s/frame-00006.png", out);
    assert_int_not_equal(access(last, R_OK), 0);
    char* none[] = {"hwm", "render", "--checkpoint", "/nonexistent", "--out", out};
    assert_int_equal(hwm_cli_main(6, none), HWM_EXIT_FAILED);
}

static void test_render_films_random_actions(void** state) {
    (void)state;
    char out[128];
    snprintf(out, sizeof out, "%s", scratch_path("random.gif"));
    char* argv[] = {"hwm", "render", "--env", "cartpole", "--steps",
                    "4",   "--fps",  "50",    "--out",    out};
    assert_int_equal(hwm_cli_main(10, argv), HWM_EXIT_DONE);
    int code = 0;
    GifFileType* gif = DGifOpenFileName(out, &code);
    assert_non_null(gif);
    assert_int_equal(DGifSlurp(gif), GIF_OK);
    assert_int_equal(gif->ImageCount, 5);
    DGifCloseFile(gif, &code);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gif_holds_its_frames_colours_and_delays),
        cmocka_unit_test(test_film_refuses_with_a_sentence),
        cmocka_unit_test(test_mp4_feeds_every_frame_to_ffmpeg_and_believes_its_exit),
        cmocka_unit_test(test_render_films_a_checkpoint_to_the_end_it_is_given),
        cmocka_unit_test(test_render_films_random_actions),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
