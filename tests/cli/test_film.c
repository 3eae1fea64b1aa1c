// Films: what a GIF holds when an independent reader opens it, frames as pictures, and what is
// refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

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
        cmocka_unit_test(test_render_films_a_checkpoint_to_the_end_it_is_given),
        cmocka_unit_test(test_render_films_random_actions),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
