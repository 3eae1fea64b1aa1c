// hwm plot: how runs learned, whether imagination told the truth, what the weights do in an
// episode, and what the controller does when its world changes.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/signals.h"
#include "commands.h"
#include "curves.h"
#include "figure.h"
#include "play.h"
#include "run_dir.h"

enum { RUNS_MAX = 64, GROUPS_MAX = 7, POINTS = 200, SYNAPSES_MAX = 400, WINDOWS = 24 };
enum {
    PANEL_WIDTH = 440,
    PANEL_HEIGHT = 280,
    MARGIN_LEFT = 70,
    MARGIN_TOP = 50,
    GAP_X = 110,
    GAP_Y = 100
};
static const hwm_colour change_colour = {0.2, 0.2, 0.2};

typedef struct plot_options {
    hwm_text_list out;
    const char* data;
    int64_t seed, episodes, change_at;
    bool curves_only;
} plot_options;

// What is drawn, computed once and drawn into every file.
typedef struct plot {
    hwm_curves run[RUNS_MAX];
    int n_runs;
    struct {
        const hwm_curves* run[RUNS_MAX];
        int n;
    } group[GROUPS_MAX];
    int n_groups;
    double env_steps_max;
    double x[POINTS], mean[GROUPS_MAX][POINTS], low[GROUPS_MAX][POINTS], high[GROUPS_MAX][POINTS];
    double imagined[GROUPS_MAX][POINTS], real[GROUPS_MAX][POINTS];
    // weights of one episode: (synapses, decisions)
    float* weights;
    int synapses, decisions, synapses_all;
    double weight_limit, episode_return;
    // adaptation: mean reward per decision in windows around the change, over episodes; [0] with
    // the change, [1] without
    int64_t change_at;
    bool own_change;  // of the environment's hidden variant; otherwise the weights are drawn again
    int window;
    double window_x[WINDOWS], adapted[2][WINDOWS], adapted_low[WINDOWS], adapted_high[WINDOWS];
    bool has_weights, has_adaptation;
} plot;

// ---- learning curves

static hwm_status read_runs(plot* p, const char* const* dirs, int n, hwm_error* err) {
    if (n > RUNS_MAX) {
        return hwm_fail(err, HWM_EINVAL, "%d runs are given; at most %d fit into one figure", n,
                        RUNS_MAX);
    }
    for (int i = 0; i < n; i++) {
        hwm_curves* c = &p->run[i];
        hwm_status s = hwm_curves_read(c, dirs[i], err);
        if (s != HWM_OK) {
            return s;
        }
        p->n_runs++;
        p->env_steps_max = fmax(p->env_steps_max, c->column[HWM_CURVE_ENV_STEPS][c->n - 1]);
        int g = 0;
        while (g < p->n_groups && strcmp(p->group[g].run[0]->experiment, c->experiment) != 0) {
            g++;
        }
        if (g == GROUPS_MAX) {
            return hwm_fail(err, HWM_EINVAL, "more than %d experiments in one figure", GROUPS_MAX);
        }
        p->n_groups = g == p->n_groups ? g + 1 : p->n_groups;
        p->group[g].run[p->group[g].n++] = c;
    }
    return HWM_OK;
}

static void compute_curves(plot* p) {
    double ignored[2][POINTS];
    for (int g = 0; g < p->n_groups; g++) {
        hwm_curves_spread(p->group[g].run, p->group[g].n, HWM_CURVE_EVAL, p->env_steps_max, POINTS,
                          p->x, p->mean[g], p->low[g], p->high[g]);
        hwm_curves_spread(p->group[g].run, p->group[g].n, HWM_CURVE_IMAGINED, p->env_steps_max,
                          POINTS, p->x, p->imagined[g], ignored[0], ignored[1]);
        hwm_curves_spread(p->group[g].run, p->group[g].n, HWM_CURVE_REAL, p->env_steps_max, POINTS,
                          p->x, p->real[g], ignored[0], ignored[1]);
    }
}

// ---- weights over an episode

typedef struct weights_recorder {
    plot* p;
    const hwm_controller* controller;
    int from[HWM_KEYS_MAX], count[HWM_KEYS_MAX], n_keys;  // parts of the state that are weights
    int capacity;
    float* row;     // (state)
    float* series;  // (decisions, synapses)
    bool failed;
} weights_recorder;

// Plastic weights are the state's tensors of two dimensions.
static void find_weights(weights_recorder* w, const hwm_controller* c) {
    hwm_tensor_spec specs[HWM_KEYS_MAX];
    int n = hwm_controller_keys(c, specs), offset = 0;
    w->p->synapses_all = 0;
    for (int k = 0; k < n; k++) {
        int count = (int)hwm_tensor_count(&specs[k]);
        if (specs[k].ndim == 2) {
            w->from[w->n_keys] = offset;
            w->count[w->n_keys++] = count;
            w->p->synapses_all += count;
        }
        offset += count;
    }
    w->p->synapses = w->p->synapses_all < SYNAPSES_MAX ? w->p->synapses_all : SYNAPSES_MAX;
}

// Value of the synapse number i of all plastic layers.
static float synapse(const weights_recorder* w, int i) {
    for (int k = 0; k < w->n_keys; k++) {
        if (i < w->count[k]) {
            return w->row[w->from[k] + i];
        }
        i -= w->count[k];
    }
    return NAN;
}

static bool record_weights(void* context, const hwm_rollout* r, int64_t row) {
    weights_recorder* w = context;
    plot* p = w->p;
    int size = hwm_controller_state_size(r->controller);
    if (!w->controller) {
        w->controller = r->controller;
        find_weights(w, r->controller);
        w->row = malloc((size_t)size * sizeof(float) + 1);
    }
    if (row >= w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 512;
        float* more =
            realloc(w->series, (size_t)w->capacity * (size_t)p->synapses * sizeof(float) + 1);
        if (!more) {
            w->failed = true;
            return false;
        }
        w->series = more;
    }
    if (w->failed || !w->row || p->synapses == 0) {
        return false;
    }
    hwm_lanes_get(r->state, 0, size, w->row);
    for (int i = 0; i < p->synapses; i++) {
        // of a large controller every k-th synapse
        float v = synapse(w, (int)((long)i * p->synapses_all / p->synapses));
        w->series[(size_t)row * (size_t)p->synapses + (size_t)i] = v;
        p->weight_limit = fmax(p->weight_limit, fabsf(v));
    }
    p->decisions = (int)row + 1;
    p->episode_return = r->episode_return[0];
    return true;
}

static hwm_status compute_weights(plot* p, const hwm_checkpoint* c, uint64_t seed, hwm_error* err) {
    weights_recorder w = {.p = p};
    hwm_play_request q = hwm_play_default_request();
    q.seed = seed;
    q.decisions_max = 20000;
    hwm_status s = hwm_play(c, &q, record_weights, &w, err);
    if (s == HWM_OK && p->decisions > 0) {
        // drawn with synapses as rows, the first at the bottom
        p->weights = malloc((size_t)p->decisions * (size_t)p->synapses * sizeof(float) + 1);
        for (int t = 0; p->weights && t < p->decisions; t++) {
            for (int i = 0; i < p->synapses; i++) {
                p->weights[(size_t)(p->synapses - 1 - i) * (size_t)p->decisions + (size_t)t] =
                    w.series[(size_t)t * (size_t)p->synapses + (size_t)i];
            }
        }
        p->has_weights = p->weights != NULL;
        p->weight_limit = p->weight_limit > 0 ? p->weight_limit : 1.0;
    }
    free(w.row);
    free(w.series);
    return s;
}

// ---- adaptation: rewards before and after the weights are lost

typedef struct rewards_recorder {
    int64_t from, to;  // rows that count, relative to the change
    int window;
    const int64_t* change;  // (episodes) row of the change
    double* sum;            // (episodes, WINDOWS)
} rewards_recorder;

// Where each episode's hidden variant changes for the first time; -1: nowhere.
typedef struct change_finder {
    int64_t change[HWM_PLAY_EPISODES_MAX];
    float variant[HWM_PLAY_EPISODES_MAX][16];
} change_finder;

static bool find_changes(void* context, const hwm_rollout* r, int64_t row) {
    change_finder* c = context;
    bool all = true;
    for (int i = 0; i < r->E && r->spec->variant_dim > 0; i++) {
        float now[16] = {0};
        if (r->idle[i]) {
            continue;
        }
        hwm_envs_variant(r->envs, i, now);
        if (row > 0 && c->change[i] < 0 && memcmp(now, c->variant[i], sizeof now) != 0) {
            c->change[i] = row;
        }
        memcpy(c->variant[i], now, sizeof now);
        all &= c->change[i] >= 0;
    }
    return r->spec->variant_dim > 0 && !all;
}

static bool record_rewards(void* context, const hwm_rollout* r, int64_t row) {
    rewards_recorder* a = context;
    bool more = false;
    for (int i = 0; i < r->E; i++) {
        int64_t at = row - a->change[i];
        more |= !r->idle[i] && at < a->to;
        if (!r->idle[i] && !(r->flags[i] & HWM_FLAG_FIRST) && at >= a->from && at < a->to) {
            a->sum[i * WINDOWS + (int)((at - a->from) / a->window)] += (double)r->reward[i];
        }
    }
    return more;
}

static int compare_doubles(const void* a, const void* b) {
    double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

static hwm_status compute_adaptation(plot* p, const hwm_checkpoint* c, const plot_options* o,
                                     uint64_t seed, hwm_error* err) {
    static double sum[2][HWM_PLAY_EPISODES_MAX * WINDOWS];
    int E = (int)(o->episodes < HWM_PLAY_EPISODES_MAX ? o->episodes : HWM_PLAY_EPISODES_MAX);
    hwm_play_request q = hwm_play_default_request();
    q.seed = seed;
    q.episodes = E;

    // the world's own change where every episode has one, else the loss of all weights
    change_finder found;
    memset(&found, 0, sizeof found);
    memset(found.change, 0xff, sizeof found.change);
    hwm_status s = hwm_play(c, &q, find_changes, &found, err);
    p->change_at = o->change_at;
    bool own = s == HWM_OK;
    for (int i = 0; i < E; i++) {
        own &= found.change[i] >= 0;
        p->change_at = own && found.change[i] < p->change_at ? found.change[i] : p->change_at;
    }
    p->own_change = own;
    if (!own && p->synapses_all == 0) {
        return s;  // nothing changes, and no weight could be drawn again
    }
    p->change_at = own ? p->change_at : o->change_at;
    p->window = (int)(p->change_at / (WINDOWS / 2) > 0 ? p->change_at / (WINDOWS / 2) : 1);
    for (int i = 0; !own && i < E; i++) {
        found.change[i] = o->change_at;
    }
    for (int k = 0; k < (own ? 1 : 2) && s == HWM_OK; k++) {
        memset(sum[k], 0, sizeof sum[k]);
        rewards_recorder a = {.window = p->window,
                              .from = -(int64_t)p->window * (WINDOWS / 2),
                              .to = (int64_t)p->window * (WINDOWS / 2),
                              .change = found.change,
                              .sum = sum[k]};
        q.reset_at = k == 0 && !own ? o->change_at : -1;
        s = hwm_play(c, &q, record_rewards, &a, err);
    }
    if (s != HWM_OK) {
        return s;
    }
    for (int w = 0; w < WINDOWS; w++) {
        double values[HWM_PLAY_EPISODES_MAX];
        p->window_x[w] = (w - WINDOWS / 2 + 0.5) * p->window;
        for (int k = 0; k < 2; k++) {
            p->adapted[k][w] = 0.0;
            for (int i = 0; i < E; i++) {
                values[i] = sum[k][i * WINDOWS + w] / p->window;
                p->adapted[k][w] += values[i] / E;
            }
            if (k == 0) {
                qsort(values, (size_t)E, sizeof values[0], compare_doubles);
                p->adapted_low[w] = values[E / 4];
                p->adapted_high[w] = values[3 * E / 4 < E ? 3 * E / 4 : E - 1];
            }
        }
    }
    p->has_adaptation = true;
    return HWM_OK;
}

// ---- drawing

static void extend(double* lo, double* hi, const double* v, int n) {
    for (int i = 0; i < n; i++) {
        if (isfinite(v[i])) {
            *lo = fmin(*lo, v[i]);
            *hi = fmax(*hi, v[i]);
        }
    }
}

static hwm_panel panel_at(int i) {
    return (hwm_panel){.x = MARGIN_LEFT + (i % 2) * (PANEL_WIDTH + GAP_X),
                       .y = MARGIN_TOP + (i / 2) * (PANEL_HEIGHT + GAP_Y),
                       .width = PANEL_WIDTH,
                       .height = PANEL_HEIGHT};
}

static void draw_curves(hwm_figure* f, hwm_panel panel, const plot* p) {
    panel.x_max = p->env_steps_max;
    panel.y_min = INFINITY;
    panel.y_max = -INFINITY;
    for (int g = 0; g < p->n_groups; g++) {
        for (int r = 0; r < p->group[g].n; r++) {
            const hwm_curves* c = p->group[g].run[r];
            extend(&panel.y_min, &panel.y_max, c->column[HWM_CURVE_EVAL], c->n);
            extend(&panel.y_min, &panel.y_max, c->column[HWM_CURVE_RETURN], c->n);
        }
    }
    // room for the legend above the curves
    panel.y_max += (0.06 + 0.06 * p->n_groups) * (panel.y_max - panel.y_min);
    hwm_axis_round(&panel.y_min, &panel.y_max);
    hwm_figure_axes(f, &panel, "Learning", "environment steps", "return per episode");
    for (int g = 0; g < p->n_groups; g++) {
        hwm_colour colour = hwm_colour_of(g);
        int seeds = p->group[g].n;
        for (int r = 0; r < seeds; r++) {
            const hwm_curves* c = p->group[g].run[r];
            hwm_colour pale = {1 - 0.35 * (1 - colour.r), 1 - 0.35 * (1 - colour.g),
                               1 - 0.35 * (1 - colour.b)};
            hwm_figure_line(f, &panel, c->column[HWM_CURVE_ENV_STEPS], c->column[HWM_CURVE_RETURN],
                            c->n, pale, 1.0, false);
        }
        hwm_figure_band(f, &panel, p->x, p->low[g], p->high[g], POINTS, colour);
        hwm_figure_line(f, &panel, p->x, p->mean[g], POINTS, colour, 2.2, false);
    }
    for (int g = 0; g < p->n_groups; g++) {
        char text[160];
        snprintf(text, sizeof text, p->group[g].n == 1 ? "%s" : "%s: mean and range of %d seeds",
                 p->group[g].run[0]->experiment, p->group[g].n);
        hwm_figure_legend(f, &panel, g, text, hwm_colour_of(g), false);
    }
}

static void draw_imagined(hwm_figure* f, hwm_panel panel, const plot* p) {
    panel.x_max = p->env_steps_max;
    panel.y_min = INFINITY;
    panel.y_max = -INFINITY;
    for (int g = 0; g < p->n_groups; g++) {
        extend(&panel.y_min, &panel.y_max, p->imagined[g], POINTS);
        extend(&panel.y_min, &panel.y_max, p->real[g], POINTS);
    }
    hwm_axis_round(&panel.y_min, &panel.y_max);
    hwm_figure_axes(f, &panel, "Imagined against real", "environment steps", "return, same units");
    for (int g = 0; g < p->n_groups; g++) {
        hwm_figure_line(f, &panel, p->x, p->real[g], POINTS, hwm_colour_of(g), 2.0, false);
        hwm_figure_line(f, &panel, p->x, p->imagined[g], POINTS, hwm_colour_of(g), 2.0, true);
    }
    hwm_figure_legend(f, &panel, 0, "real", hwm_colour_of(0), false);
    hwm_figure_legend(f, &panel, 1, "imagined", hwm_colour_of(0), true);
}

static void draw_weights(hwm_figure* f, hwm_panel panel, const plot* p) {
    char title[160];
    panel.x_max = p->decisions;
    hwm_figure_heat(f, &panel, p->weights, p->synapses, p->decisions, p->weight_limit);
    hwm_figure_heat_scale(f, &panel, p->weight_limit);
    snprintf(title, sizeof title, "Plastic weights in one episode (return %.5g)",
             p->episode_return);
    panel.y_max = p->synapses_all;
    hwm_figure_axes(f, &panel, title, "decision", "synapse");
}

static void draw_adaptation(hwm_figure* f, hwm_panel panel, const plot* p) {
    char title[160], label[160];
    panel.x_min = p->window_x[0] - 0.5 * p->window;
    panel.x_max = p->window_x[WINDOWS - 1] + 0.5 * p->window;
    panel.y_min = INFINITY;
    panel.y_max = -INFINITY;
    extend(&panel.y_min, &panel.y_max, p->adapted[0], WINDOWS);
    extend(&panel.y_min, &panel.y_max, p->adapted[1], WINDOWS);
    extend(&panel.y_min, &panel.y_max, p->adapted_low, WINDOWS);
    extend(&panel.y_min, &panel.y_max, p->adapted_high, WINDOWS);
    // with 0, and a little room above: a dip of a percent shall not look like a collapse
    panel.y_min = fmin(panel.y_min, 0.0);
    panel.y_max = fmax(panel.y_max, 0.0) + 0.05 * (panel.y_max - panel.y_min);
    hwm_axis_round(&panel.y_min, &panel.y_max);
    if (p->own_change) {
        snprintf(title, sizeof title, "Adaptation: the hidden variant changes");
    } else {
        snprintf(title, sizeof title, "Adaptation: weights drawn again at decision %lld",
                 (long long)p->change_at);
    }
    snprintf(label, sizeof label, "reward per decision, windows of %d", p->window);
    hwm_figure_axes(f, &panel, title, "decisions after the change", label);
    hwm_figure_band(f, &panel, p->window_x, p->adapted_low, p->adapted_high, WINDOWS,
                    hwm_colour_of(0));
    if (!p->own_change) {
        hwm_figure_line(f, &panel, p->window_x, p->adapted[1], WINDOWS, hwm_colour_of(1), 1.6,
                        true);
        hwm_figure_legend(f, &panel, 1, "the same episodes without it", hwm_colour_of(1), true);
    }
    hwm_figure_line(f, &panel, p->window_x, p->adapted[0], WINDOWS, hwm_colour_of(0), 2.2, false);
    hwm_figure_vertical(f, &panel, 0.0, change_colour);
    hwm_figure_legend(f, &panel, 0, "with the change (mean, middle half)", hwm_colour_of(0), false);
}

static bool has_imagined(const plot* p) {
    for (int g = 0; g < p->n_groups; g++) {
        for (int i = 0; i < POINTS; i++) {
            if (isfinite(p->imagined[g][i])) {
                return true;
            }
        }
    }
    return false;
}

static hwm_status draw(const plot* p, const char* path, hwm_error* err) {
    int panels = 1 + has_imagined(p) + p->has_weights + p->has_adaptation;
    int columns = panels > 1 ? 2 : 1, rows = (panels + 1) / 2;
    int width = MARGIN_LEFT + columns * PANEL_WIDTH + (columns - 1) * GAP_X + 70;
    int height = MARGIN_TOP + rows * PANEL_HEIGHT + (rows - 1) * GAP_Y + 60;
    hwm_figure* f = NULL;
    hwm_status s = hwm_figure_create(&f, path, width, height, err);
    if (s != HWM_OK) {
        return s;
    }
    int at = 0;
    draw_curves(f, panel_at(at++), p);
    if (has_imagined(p)) {
        draw_imagined(f, panel_at(at++), p);
    }
    if (p->has_weights) {
        draw_weights(f, panel_at(at++), p);
    }
    if (p->has_adaptation) {
        draw_adaptation(f, panel_at(at++), p);
    }
    return hwm_figure_finish(&f, err);
}

// The numbers of the curves, so that anything else can draw them too.
static hwm_status write_data(const plot* p, const char* path, hwm_error* err) {
    FILE* f = fopen(path, "w");
    if (!f) {
        return hwm_fail(err, HWM_EIO, "cannot write %s", path);
    }
    fprintf(f, "experiment,env_steps,seeds,eval_mean,eval_low,eval_high,imagined,real\n");
    for (int g = 0; g < p->n_groups; g++) {
        for (int i = 0; i < POINTS; i++) {
            const double v[] = {p->mean[g][i], p->low[g][i], p->high[g][i], p->imagined[g][i],
                                p->real[g][i]};
            fprintf(f, "%s,%.9g,%d", p->group[g].run[0]->experiment, p->x[i], p->group[g].n);
            for (int k = 0; k < 5; k++) {
                fprintf(f, isfinite(v[k]) ? ",%.9g" : ",", v[k]);
            }
            fprintf(f, "\n");
        }
    }
    return fclose(f) == 0 ? HWM_OK : hwm_fail(err, HWM_EIO, "cannot write %s", path);
}

static hwm_status plot_all(plot* p, const plot_options* o, const char* const* runs, int n,
                           hwm_error* err) {
    hwm_status s = read_runs(p, runs, n, err);
    if (s != HWM_OK) {
        return s;
    }
    compute_curves(p);
    hwm_checkpoint checkpoint;
    hwm_error why = {0};
    if (!o->curves_only && hwm_checkpoint_open(&checkpoint, runs[0], &why) == HWM_OK) {
        uint64_t seed =
            o->seed >= 0 ? (uint64_t)o->seed : (uint64_t)checkpoint.experiment->evaluation.seed + 1;
        s = compute_weights(p, &checkpoint, seed, err);
        s = s != HWM_OK ? s : compute_adaptation(p, &checkpoint, o, seed, err);
        hwm_checkpoint_close(&checkpoint);
    } else if (!o->curves_only) {
        fprintf(stderr, "hwm plot: curves only, because of the first run: %s\n", why.text);
    }
    static const char* const standard[] = {"plot.png", "plot.svg"};
    int n_out = o->out.n ? o->out.n : 2;
    for (int i = 0; i < n_out && s == HWM_OK; i++) {
        const char* path = o->out.n ? o->out.v[i] : standard[i];
        s = draw(p, path, err);
        if (s == HWM_OK) {
            printf("%s\n", path);
        }
    }
    return s == HWM_OK && o->data ? write_data(p, o->data, err) : s;
}

static hwm_exit run(const void* options, const char* const* operands, int n_operands) {
    hwm_log_setup("hwm", HWM_LOG_ERROR, HWM_LOG_TEXT);
    hwm_signals_install();
    plot* p = calloc(1, sizeof *p);
    hwm_error err = {0};
    hwm_status s = p ? plot_all(p, options, operands, n_operands, &err) : HWM_ENOMEM;
    if (s != HWM_OK && s != HWM_ECLOSED) {
        fprintf(stderr, "hwm plot: %s\n", p ? err.text : "out of memory");
    }
    for (int i = 0; p && i < p->n_runs; i++) {
        hwm_curves_free(&p->run[i]);
    }
    if (p) {
        free(p->weights);
    }
    free(p);
    return s == HWM_OK        ? HWM_EXIT_DONE
           : s == HWM_ECLOSED ? HWM_EXIT_INTERRUPTED
           : s == HWM_EINVAL  ? HWM_EXIT_USAGE
                              : HWM_EXIT_FAILED;
}

#define OPTION(field) offsetof(plot_options, field)
static const hwm_option options[] = {
    {"--out", "FILE", HWM_OPTION_LIST, OPTION(out), NULL, 0, 0,
     "A .png or .svg to write; without it plot.png and plot.svg."},
    {"--data", "FILE", HWM_OPTION_TEXT, OPTION(data), NULL, 0, 0,
     "Also write the numbers of the curves as CSV."},
    {"--seed", "S", HWM_OPTION_INT, OPTION(seed), "-1", -1, 4294967295.0,
     "Of the episodes played for weights and adaptation; -1: as `hwm eval`."},
    {"--episodes", "N", HWM_OPTION_INT, OPTION(episodes), "32", 1, HWM_PLAY_EPISODES_MAX,
     "Episodes played for adaptation."},
    {"--change-at", "T", HWM_OPTION_INT, OPTION(change_at), "100", 12, 1e6,
     "Decision at which the weights are drawn again where nothing else changes, for adaptation."},
    {"--curves-only", NULL, HWM_OPTION_FLAG, OPTION(curves_only), NULL, 0, 0,
     "Play no episodes: learning curves, and imagined against real."},
};
const hwm_command hwm_command_plot = {
    .name = "plot",
    .operands = "RUN...",
    .operands_min = 1,
    .operands_max = RUNS_MAX,
    .summary = "Draw runs: learning curves, imagined against real, weights, adaptation",
    .details = "Runs of one experiment become one curve: the mean of its evaluations with the "
               "range over its seeds, and "
               "each run's training returns behind it in a paler colour. Imagined and real return "
               "of the same "
               "parameters stand side by side. Two panels come from episodes that the first run's "
               "best controller "
               "plays here: its plastic weights from decision to decision, and the reward before "
               "and after a change: "
               "of the hidden variant where every episode has one, otherwise of the weights, which "
               "are drawn again, "
               "beside the same episodes without that.",
    .example = "hwm plot runs/suite/cartpole-seed* --out cartpole.png --out cartpole.svg",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .options_bytes = sizeof(plot_options),
    .run = run,
};
