// Pictures of MuJoCo environments without a display: OSMesa, loaded at run time, so that only those
// who want pictures need it.
//
// One OSMesa context serves the whole process and lives as long (the library never gives back all
// that belongs to one); a renderer is MuJoCo's textures and buffers in it. Drawing works on a copy
// of the state: what MuJoCo derives for a picture never touches the simulation.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "env/mj.h"

// OSMesa's interface, as far as it is used; values of its and OpenGL's headers.
typedef void* (*create_context_function)(unsigned format, int depth_bits, int stencil_bits,
                                         int accumulator_bits, void* share);
typedef unsigned char (*make_current_function)(void* context, void* buffer, unsigned type,
                                               int width, int height);
enum { OSMESA_RGBA_FORMAT = 0x1908, UNSIGNED_BYTE_TYPE = 0x1401 };

static pthread_mutex_t drawing = PTHREAD_MUTEX_INITIALIZER;  // held while the context is current
static make_current_function make_current;
static void* context;
// OSMesa wants a window; drawing goes to MuJoCo's own buffer
enum { WINDOW = 16 };
static uint8_t window[4 * WINDOW * WINDOW];

struct mj_renderer {
    mjData* data;  // a copy to derive from
    mjvScene scene;
    mjvOption option;
    mjvCamera camera;
    mjrContext target;
    bool has_scene, has_target;
};

static void enter(void) {
    pthread_mutex_lock(&drawing);
    if (context) {
        make_current(context, window, UNSIGNED_BYTE_TYPE, WINDOW, WINDOW);
    }
}

static void leave(void) {
    if (context) {
        make_current(NULL, NULL, 0, 0, 0);
    }
    pthread_mutex_unlock(&drawing);
}

void mj_renderer_destroy(mj_renderer* r) {
    if (!r) {
        return;
    }
    enter();
    if (r->has_target) {
        mjr_freeContext(&r->target);
    }
    leave();
    if (r->has_scene) {
        mjv_freeScene(&r->scene);
    }
    if (r->data) {
        mj_deleteData(r->data);
    }
    free(r);
}

static _Thread_local mj_renderer* opening;

static void open_target(const mjModel* m, mjData* d) {
    (void)d;
    mjr_makeContext(m, &opening->target, mjFONTSCALE_100);
}

// With the lock held: the process's context, at the first call.
static hwm_status open_context(hwm_error* err) {
    if (context) {
        return HWM_OK;
    }
    void* library = dlopen("libOSMesa.so.8", RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        library = dlopen("libOSMesa.so", RTLD_NOW | RTLD_GLOBAL);
    }
    if (!library) {
        return hwm_fail(err, HWM_EUNSUPPORTED,
                        "pictures of MuJoCo environments need OSMesa, which is not installed: "
                        "apt-get install libosmesa6");
    }
    // POSIX lets a data pointer from dlsym stand for a function; C does not, hence the copies
    create_context_function create;
    void* symbol = dlsym(library, "OSMesaCreateContextExt");
    memcpy(&create, &symbol, sizeof symbol);
    symbol = dlsym(library, "OSMesaMakeCurrent");
    memcpy(&make_current, &symbol, sizeof symbol);
    void* made = create && make_current ? create(OSMESA_RGBA_FORMAT, 24, 8, 0, NULL) : NULL;
    if (!made || !make_current(made, window, UNSIGNED_BYTE_TYPE, WINDOW, WINDOW)) {
        return hwm_fail(err, HWM_EUNSUPPORTED, "OSMesa gives no drawing context");
    }
    context = made;
    return HWM_OK;
}

hwm_status mj_renderer_create(mj_renderer** out, const mjModel* m, hwm_error* err) {
    *out = NULL;
    mj_renderer* r = calloc(1, sizeof *r);
    if (!r) {
        return hwm_fail(err, HWM_ENOMEM, "pictures: out of memory");
    }
    enter();
    hwm_status code = open_context(err);
    if (code != HWM_OK) {
        goto done;
    }
    r->data = mj_makeData(m);
    mjv_defaultScene(&r->scene);
    mjv_makeScene(m, &r->scene, 2000);
    r->has_scene = true;
    mjv_defaultOption(&r->option);
    mjv_defaultFreeCamera(m, &r->camera);
    int view = mj_name2id(m, mjOBJ_CAMERA, "view");
    if (view < 0 && m->ncam > 0) {
        view = 0;
    }
    if (view >= 0) {
        r->camera.type = mjCAMERA_FIXED;
        r->camera.fixedcamid = view;
    }
    mjr_defaultContext(&r->target);
    opening = r;
    if (!r->data || !mj_guard(open_target, m, r->data)) {
        code = hwm_fail(err, HWM_EUNSUPPORTED, "pictures: MuJoCo cannot draw here: %s",
                        mj_last_error());
        goto done;
    }
    r->has_target = true;
    mjr_setBuffer(mjFB_OFFSCREEN, &r->target);
done:
    leave();
    if (code != HWM_OK) {
        mj_renderer_destroy(r);
        return code;
    }
    *out = r;
    return HWM_OK;
}

hwm_status mj_renderer_draw(mj_renderer* r, const mjModel* m, const mjData* d, int width,
                            int height, uint8_t* rgb, hwm_error* err) {
    if (width > r->target.offWidth || height > r->target.offHeight) {
        return hwm_fail(err, HWM_EINVAL, "a picture of %d x %d is larger than %d x %d", width,
                        height, r->target.offWidth, r->target.offHeight);
    }
    memcpy(r->data->qpos, d->qpos, (size_t)m->nq * sizeof *d->qpos);
    memcpy(r->data->qvel, d->qvel, (size_t)m->nv * sizeof *d->qvel);
    memcpy(r->data->act, d->act, (size_t)m->na * sizeof *d->act);
    mj_guard(mj_forward, m, r->data);
    mjv_updateScene(m, r->data, &r->option, NULL, &r->camera, mjCAT_ALL, &r->scene);
    enter();
    mjrRect rectangle = {0, 0, width, height};
    mjr_render(rectangle, &r->scene, &r->target);
    mjr_readPixels(rgb, NULL, rectangle, &r->target);
    leave();
    // OpenGL's first row is the lowest
    size_t line = 3 * (size_t)width;
    for (int top = 0, low = height - 1; top < low; top++, low--) {
        uint8_t *a = rgb + (size_t)top * line, *b = rgb + (size_t)low * line;
        for (size_t k = 0; k < line; k++) {
            uint8_t swap = a[k];
            a[k] = b[k];
            b[k] = swap;
        }
    }
    return HWM_OK;
}

#ifdef __SANITIZE_ADDRESS__
// A few bytes that the library takes when it is first used and never gives back.
const char* __lsan_default_suppressions(void);
const char* __lsan_default_suppressions(void) {
    return "leak:libOSMesa\n";
}
#endif
