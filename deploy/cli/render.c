// hwm render: a film of an environment, driven by a checkpoint's controller or by given or random
// actions.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/signals.h"
#include "commands.h"
#include "experiment/evaluate.h"
#include "figure.h"
#include "film.h"
#include "play.h"
#include "record/chunk.h"
#include "rollout.h"

enum { SIDE = 260, TRACE_MAX = 4096, LAYERS_SHOWN = 6 };
static const hwm_colour black = {0.13, 0.13, 0.15}, muted = {0.45, 0.45, 0.48};

typedef struct render_options {
    rollout_options rollout;
    const char* checkpoint;
    const char* out;
    int64_t width, height;
    double fps;
    int64_t freeze_at, reset_at;
} render_options;

// One film in the making.
typedef struct scene {
    const render_options* options;
    hwm_film* film;
    uint8_t *picture, *frame;  // (height, width, 3) of the environment; of the whole frame
    int width, height;         // of the picture
    bool side;                 // weights and text stand beside the picture
    int64_t every;             // decisions per frame
    int64_t decisions_max;
    double trace[TRACE_MAX];  // reward of the latest decisions
    int n_trace;
    hwm_status status;
    hwm_error* err;
} scene;

// What a frame says about the moment.
typedef struct moment {
    int64_t decision;
    double time_s, total, reward;
    const hwm_env_spec* spec;
    const float* variant;
    const hwm_rollout* rollout;  // NULL: no controller
    bool ended;
} moment;

static hwm_status scene_open(scene* s, const render_options* o, const hwm_env_spec* spec, bool side,
                             hwm_error* err) {
    s->options = o;
    s->err = err;
    s->width = (int)o->width;
    s->height = (int)o->height;
    s->side = side;
    s->every = (int64_t)fmax(1.0, round(1.0 / (o->fps * spec->control_dt)));
    s->decisions_max = o->rollout.steps > 0 ? o->rollout.steps : spec->time_limit;
    double fps = 1.0 / (spec->control_dt * (double)s->every);
    int width = s->width + (side ? SIDE : 0);
    s->picture = malloc(3 * (size_t)s->width * (size_t)s->height);
    s->frame = malloc(3 * (size_t)width * (size_t)s->height);
    if (!s->picture || !s->frame) {
        return hwm_fail(err, HWM_ENOMEM, "out of memory");
    }
    return hwm_film_create(&s->film, o->out, width, s->height, fps, err);
}

static void add_trace(scene* s, double reward) {
    if (s->n_trace == TRACE_MAX) {
        memmove(s->trace, s->trace + TRACE_MAX / 2, sizeof(double) * TRACE_MAX / 2);
        s->n_trace = TRACE_MAX / 2;
    }
    s->trace[s->n_trace++] = reward;
}

// The weights of each plastic layer as a small map.
static void draw_weights(hwm_figure* f, const hwm_rollout* r, double x, double y, double height) {
    hwm_tensor_spec keys[HWM_KEYS_MAX];
    int n = hwm_controller_keys(r->controller, keys),
        size = hwm_controller_state_size(r->controller);
    int shown = 0;
    for (int k = 0; k < n; k++) {
        shown += keys[k].ndim == 2 && shown < LAYERS_SHOWN;
    }
    float* row = malloc((size_t)size * sizeof *row + 1);
    if (!row || shown == 0) {
        free(row);
        return;
    }
    hwm_lanes_get(r->state, 0, size, row);
    double limit = 1e-6;
    for (int i = 0; i < size; i++) {
        limit = fmax(limit, fabsf(row[i]));
    }
    float* turned = malloc((size_t)size * sizeof *turned + 1);
    double slot = height / shown;
    int offset = 0;
    for (int k = 0, drawn = 0; turned && k < n; k++) {
        int rows = (int)keys[k].shape[0], columns = (int)keys[k].shape[1];
        if (keys[k].ndim == 2 && drawn < LAYERS_SHOWN) {
            char text[96];
            snprintf(text, sizeof text, "%.48s  %d x %d", keys[k].name, rows, columns);
            hwm_figure_text(f, x, y + slot * drawn + 11, 11, 0.0, text, muted);
            // a tall matrix is laid on its side: there is more room across
            bool lies = rows > columns;
            for (int i = 0; i < rows * columns; i++) {
                turned[lies ? i % columns * rows + i / columns : i] = row[offset + i];
            }
            int down = lies ? columns : rows, across = lies ? rows : columns;
            double cell = fmin((SIDE - 32.0) / across, fmax(slot - 24.0, 4.0) / down);
            hwm_panel panel = {
                .x = x, .y = y + slot * drawn + 16, .width = cell * across, .height = cell * down};
            hwm_figure_heat(f, &panel, turned, down, across, limit);
            drawn++;
        }
        offset += (int)hwm_tensor_count(&keys[k]);
    }
    free(turned);
    free(row);
}

static void draw_text(hwm_figure* f, const scene* s, const moment* m, double x) {
    char text[160];
    double y = s->side ? 24 : 20;
    hwm_figure_text(f, x, y, 14, 0.0, m->spec->name, black);
    snprintf(text, sizeof text, "t = %.2f s   decision %lld", m->time_s, (long long)m->decision);
    hwm_figure_text(f, x, y + 20, 12, 0.0, text, muted);
    snprintf(text, sizeof text, "return %.1f%s", m->total, m->ended ? "   (ended)" : "");
    hwm_figure_text(f, x, y + 38, 13, 0.0, text, black);
    size_t n = 0;
    text[0] = '\0';
    for (int d = 0; d < m->spec->variant_dim && n < sizeof text - 40; d++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %.3g", d ? ", " : "",
                              m->spec->variant_name[d], (double)m->variant[d]);
    }
    hwm_figure_text(f, x, y + 56, 12, 0.0, text, muted);
}

static void draw_frame(scene* s, hwm_envs* envs, const moment* m) {
    s->status = hwm_envs_render(envs, 0, s->width, s->height, s->picture, s->err);
    hwm_figure* f = NULL;
    int width = s->width + (s->side ? SIDE : 0);
    if (s->status == HWM_OK) {
        s->status = hwm_figure_create(&f, NULL, width, s->height, s->err);
    }
    if (s->status != HWM_OK) {
        return;
    }
    hwm_figure_picture(f, 0, 0, s->picture, s->width, s->height);
    draw_text(f, s, m, s->side ? s->width + 16 : 12);
    if (s->side && m->rollout) {
        draw_weights(f, m->rollout, s->width + 16, 92, s->height - 92 - 64);
        // the reward of the decisions so far
        hwm_panel p = {.x = s->width + 16, .y = s->height - 48, .width = SIDE - 32, .height = 38};
        double x[TRACE_MAX];
        p.y_min = 0.0;
        p.y_max = 1e-9;
        for (int i = 0; i < s->n_trace; i++) {
            x[i] = i;
            p.y_min = fmin(p.y_min, s->trace[i]);
            p.y_max = fmax(p.y_max, s->trace[i]);
        }
        p.x_max = s->n_trace > 1 ? s->n_trace - 1 : 1;
        hwm_figure_text(f, p.x, p.y - 4, 11, 0.0, "reward", muted);
        hwm_figure_line(f, &p, x, s->trace, s->n_trace, hwm_colour_of(0), 1.4, false);
    }
    hwm_figure_rgb(f, s->frame);
    hwm_figure_finish(&f, NULL);
    s->status = hwm_film_add(s->film, s->frame, s->err);
}

// ---- a checkpoint's controller

typedef struct checkpoint_scene {
    scene* scene;
    const render_options* options;
} checkpoint_scene;

static bool checkpoint_row(void* context, const hwm_rollout* r, int64_t row) {
    checkpoint_scene* c = context;
    scene* s = c->scene;
    if (row == 0) {
        s->status = scene_open(s, c->options, r->spec, true, s->err);
    } else {
        add_trace(s, r->reward[0]);
    }
    bool ended = r->flags[0] & HWM_FLAG_LAST;
    if (s->status == HWM_OK && (row % s->every == 0 || ended)) {
        float variant[16] = {0};
        if (r->spec->variant_dim > 0) {
            hwm_envs_variant(r->envs, 0, variant);
        }
        moment m = {.decision = row,
                    .time_s = (double)row * r->spec->control_dt,
                    .total = r->episode_return[0],
                    .reward = r->reward[0],
                    .spec = r->spec,
                    .variant = variant,
                    .rollout = r,
                    .ended = ended};
        draw_frame(s, r->envs, &m);
    }
    return s->status == HWM_OK && row < s->decisions_max;
}

static hwm_status render_checkpoint(const render_options* o, scene* s, hwm_error* err) {
    hwm_checkpoint c;
    hwm_status status = hwm_checkpoint_open(&c, o->checkpoint, err);
    if (status != HWM_OK) {
        return status;
    }
    hwm_play_request q = hwm_play_default_request();
    q.seed = (uint64_t)o->rollout.seed;
    q.freeze_at = o->freeze_at;
    q.reset_at = o->reset_at;
    checkpoint_scene context = {s, o};
    s->err = err;
    status = hwm_play(&c, &q, checkpoint_row, &context, err);
    hwm_checkpoint_close(&c);
    return s->status != HWM_OK ? s->status : status;
}

// ---- given or random actions

static hwm_status render_actions(const render_options* o, scene* s, hwm_error* err) {
    rollout r = {0};
    s->err = err;
    hwm_status status = rollout_begin(&r, &o->rollout, err);
    if (status == HWM_OK) {
        status = scene_open(s, o, r.spec, false, err);
    }
    double total = 0.0;
    for (int64_t t = 0; status == HWM_OK && s->status == HWM_OK; t++) {
        bool more = t < s->decisions_max && rollout_choose(&r);
        if (t % s->every == 0 || !more) {
            float variant[16] = {0};
            if (r.spec->variant_dim > 0) {
                hwm_envs_variant(r.envs, 0, variant);
            }
            moment m = {.decision = t,
                        .time_s = (double)t * r.spec->control_dt,
                        .total = total,
                        .reward = (double)r.reward,
                        .spec = r.spec,
                        .variant = variant,
                        .ended = !more};
            draw_frame(s, r.envs, &m);
        }
        if (!more || hwm_signals_stop_requested()) {
            break;
        }
        rollout_step(&r);
        total += (double)r.reward;
    }
    rollout_end(&r);
    return status != HWM_OK ? status : s->status;
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    (void)operands;
    (void)n_operands;
    const render_options* o = options;
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    hwm_signals_install();
    static scene s;  // large: the rewards so far
    memset(&s, 0, sizeof s);
    hwm_error err = {0};
    hwm_status status =
        o->checkpoint ? render_checkpoint(o, &s, &err) : render_actions(o, &s, &err);
    int frames = s.film ? hwm_film_frames(s.film) : 0;
    hwm_status finished = hwm_film_finish(&s.film, &err);
    status = status != HWM_OK ? status : finished;
    free(s.picture);
    free(s.frame);
    if (status != HWM_OK) {
        fprintf(stderr, "hwm render: %s\n", err.text);
        return status == HWM_EINVAL    ? HWM_EXIT_USAGE
               : status == HWM_ECLOSED ? HWM_EXIT_INTERRUPTED
                                       : HWM_EXIT_FAILED;
    }
    printf("%s: %d frames\n", o->out, frames);
    return HWM_EXIT_DONE;
}

static const hwm_option options[] = {
    {"--checkpoint", "DIR", HWM_OPTION_TEXT, offsetof(render_options, checkpoint), NULL, 0, 0,
     "A run directory or a checkpoint whose controller acts; its experiment gives the "
     "environment."},
    {"--out", "FILE", HWM_OPTION_TEXT, offsetof(render_options, out), "film.gif", 0, 0,
     "A .gif, a .mp4 (needs ffmpeg), or a directory for PNG pictures."},
    {"--width", "N", HWM_OPTION_INT, offsetof(render_options, width), "400", 32, 4096,
     "Pixels across, of the picture without what stands beside it."},
    {"--height", "N", HWM_OPTION_INT, offsetof(render_options, height), "360", 32, 4096,
     "Pixels down."},
    {"--fps", "F", HWM_OPTION_REAL, offsetof(render_options, fps), "25", 0.1, 200,
     "Frames per second of simulated time, at most one per decision."},
    {"--freeze-at", "T", HWM_OPTION_INT, offsetof(render_options, freeze_at), "-1", -1, 1e9,
     "With a checkpoint: no plasticity from decision T on; -1: always plastic."},
    {"--reset-at", "T", HWM_OPTION_INT, offsetof(render_options, reset_at), "-1", -1, 1e9,
     "With a checkpoint: draw the weights again at decision T; -1: never."},
    ROLLOUT_OPTIONS(render_options, rollout),
};
const hwm_command hwm_command_render = {
    .name = "render",
    .operands = "",
    .summary = "Film an episode, with return, variant and plastic weights beside the picture",
    .details = "With --checkpoint the trained controller acts, without exploration, and its "
               "plastic weights stand "
               "beside the picture as they change (blue negative, red positive), the reward below "
               "them. Without, "
               "actions are given or random.",
    .example = "hwm render --checkpoint runs/cartpole-seed0 --out cartpole.gif\n"
               "hwm render --env cartpole --steps 100 --out frames",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(render_options),
    .run = run,
};
