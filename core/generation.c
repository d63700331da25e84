/* _caddysnake.Generation: one loaded generation of an app. Go pushes requests to it; the bridge
 * configures it. */
#include "asgi.h"
#include "wsgi.h"
#include <limits.h>
#include <sys/prctl.h>
#include <unistd.h>

static PyObject *app_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    core *st = PyType_GetModuleState(type);
    PyObject *view;
    static char *names[] = {"view", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!:Generation", names, st->view_type, &view))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    snake_generation *self = (snake_generation *)alloc(type, 0);
    if (!self)
        return NULL;
    self->st = st;
    self->view = (snake_view *)Py_NewRef(view);
    self->id = view_app(self->view);
    self->efd = -1;
    self->selects = true;
    queue_init(&self->queue);
    self->armed = &self->own_armed;
    return (PyObject *)self;
}

static int app_traverse(PyObject *object, visitproc visit, void *arg) {
    snake_generation *self = (snake_generation *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->view);
    Py_VISIT(self->callable);
    Py_VISIT(self->template);
    Py_VISIT(self->websocket_template);
    Py_VISIT(self->extensions);
    Py_VISIT(self->state);
    Py_VISIT(self->create_future);
    Py_VISIT(self->call_soon);
    Py_VISIT(self->call_later);
    Py_VISIT(self->flush);
    Py_VISIT(self->new_task);
    Py_VISIT(self->new_task_options);
    return 0;
}

static int app_clear(PyObject *object) {
    snake_generation *self = (snake_generation *)object;
    Py_CLEAR(self->view);
    Py_CLEAR(self->callable);
    Py_CLEAR(self->template);
    Py_CLEAR(self->websocket_template);
    Py_CLEAR(self->extensions);
    Py_CLEAR(self->state);
    Py_CLEAR(self->create_future);
    Py_CLEAR(self->call_soon);
    Py_CLEAR(self->call_later);
    Py_CLEAR(self->flush);
    Py_CLEAR(self->new_task);
    Py_CLEAR(self->new_task_options);
    return 0;
}

static void app_dealloc(PyObject *object) {
    snake_generation *self = (snake_generation *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    asgi_gate_forget(self);
    app_clear(object);
    header_cache_free(self->st, self->cache);
    if (self->efd >= 0 && self->efd != worker_down())
        close(self->efd);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* serve_wsgi(callable, environ, threads) */
static PyObject *app_serve_wsgi(PyObject *object, PyObject *args) {
    snake_generation *self = (snake_generation *)object;
    PyObject *callable, *environ;
    unsigned int threads;
    if (!PyArg_ParseTuple(args, "OO!I:serve_wsgi", &callable, &PyDict_Type, &environ, &threads))
        return NULL;
    if (self->kind != APP_NONE || threads < 1) {
        PyErr_SetString(PyExc_ValueError, "serve_wsgi: already serving, or threads is 0");
        return NULL;
    }
    self->callable = Py_NewRef(callable);
    self->template = Py_NewRef(environ);
    self->kind = APP_WSGI;
    wsgi_pool_add_app(self, threads);
    Py_RETURN_NONE;
}

/* serve_asgi(callable, scope, websocket_scope, extensions, state, loop, new_task,
 * new_task_options) */
static PyObject *app_serve_asgi(PyObject *object, PyObject *args) {
    snake_generation *self = (snake_generation *)object;
    PyObject *callable, *scope, *websocket, *extensions, *state, *loop, *new_task, *options;
    if (!PyArg_ParseTuple(args, "OO!O!O!OOOO:serve_asgi", &callable, &PyDict_Type, &scope,
                          &PyDict_Type, &websocket, &PyTuple_Type, &extensions, &state, &loop,
                          &new_task, &options))
        return NULL;
    if (self->kind != APP_NONE) {
        PyErr_SetString(PyExc_ValueError, "serve_asgi: already serving");
        return NULL;
    }
    static PyMethodDef flush = {"flush", asgi_flush, METH_NOARGS, NULL};
    self->create_future = PyObject_GetAttrString(loop, "create_future");
    self->call_soon = PyObject_GetAttrString(loop, "call_soon");
    self->call_later = PyObject_GetAttrString(loop, "call_later");
    self->flush = PyCFunction_New(&flush, object);
    self->cache = header_cache_new(self->st);
    if (!self->create_future || !self->call_soon || !self->call_later || !self->flush)
        return NULL;
    if (!self->cache)
        return PyErr_NoMemory();
    self->callable = Py_NewRef(callable);
    self->template = Py_NewRef(scope);
    self->websocket_template = Py_NewRef(websocket);
    self->extensions = Py_NewRef(extensions);
    self->state = state == Py_None ? NULL : Py_NewRef(state);
    self->new_task = Py_NewRef(new_task);
    self->new_task_options = Py_NewRef(options);
    self->kind = APP_ASGI;
    if (worker_down() >= 0) {
        queue_init_shared(&self->queue, self);
        self->armed = &segment_first()->armed;
        self->efd = worker_down();
    }
    __atomic_store_n(self->armed, 1, __ATOMIC_SEQ_CST);
    self->thread = PyThread_get_thread_ident();
    if (worker_down() < 0)
        prctl(PR_SET_NAME, "asgi"); /* this is the loop's thread */
    Py_RETURN_NONE;
}

/* select(timeout: float | None, files: int) -> int: the select() of our own asyncio loop. files:
 * descriptor of an epoll, or -1. TURN: call drain(); FILES: the epoll may have events. */
static PyObject *app_select(PyObject *object, PyObject *args) {
    PyObject *timeout;
    int files;
    if (!PyArg_ParseTuple(args, "Oi:select", &timeout, &files))
        return NULL;
    return asgi_select((snake_generation *)object, timeout, files);
}

/* wake(): ends the select() of another thread, or the next one. */
static PyObject *app_wake(PyObject *object, PyObject *ignored) {
    (void)ignored;
    asgi_loop_signal((snake_generation *)object, LOOP_CALLED);
    Py_RETURN_NONE;
}

/* watch() -> int: the descriptor that a foreign loop watches; when it is readable, the loop calls
 * drain(). */
static PyObject *app_watch(PyObject *object, PyObject *ignored) {
    (void)ignored;
    snake_generation *self = (snake_generation *)object;
    self->selects = false;
    int fd = asgi_loop_watch(self);
    return fd < 0 ? NULL : PyLong_FromLong(fd);
}

static PyObject *app_drain(PyObject *object, PyObject *ignored) {
    (void)ignored;
    snake_generation *self = (snake_generation *)object;
    if (!self->selects)
        asgi_loop_wakes(self);
    asgi_answer_probe(self);
    asgi_start_round(self);
    Py_RETURN_NONE;
}

/* wait_idle(timeout: float) -> bool: True once no request runs. Releases the GIL. */
static PyObject *app_wait_idle(PyObject *object, PyObject *arg) {
    snake_generation *self = (snake_generation *)object;
    double timeout = PyFloat_AsDouble(arg);
    if (timeout == -1.0 && PyErr_Occurred())
        return NULL;
    uint64_t deadline = now_us() + (uint64_t)(timeout * 1e6);
    uint32_t left;
    __atomic_fetch_add(&self->watched, 1, __ATOMIC_SEQ_CST);
    Py_BEGIN_ALLOW_THREADS;
    for (;;) {
        left = __atomic_load_n(&self->inflight, __ATOMIC_SEQ_CST);
        uint64_t now = now_us();
        if (!left || now >= deadline)
            break;
        futex_wait(&self->inflight, left, deadline - now);
    }
    Py_END_ALLOW_THREADS;
    __atomic_fetch_sub(&self->watched, 1, __ATOMIC_SEQ_CST);
    return PyBool_FromLong(left == 0);
}

/* cancel(answered: bool): cancels the tasks of the requests that still run. Cancels requests with a
 * complete response only if answered is true. On the loop's thread. */
static PyObject *app_cancel(PyObject *object, PyObject *answered) {
    if (asgi_cancel((snake_generation *)object, answered == Py_True) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* answered() -> list of the scopes of requests that still run after their response. On the loop's
 * thread. */
static PyObject *app_answered(PyObject *object, PyObject *ignored) {
    (void)ignored;
    return asgi_answered((snake_generation *)object);
}

/* coroutines() -> [(slot, serial of the slot's request, coroutine, thread of the loop)]; slot -1:
 * the response is complete, and the app runs on */
static PyObject *app_coroutines(PyObject *object, PyObject *ignored) {
    (void)ignored;
    return asgi_coroutines((snake_generation *)object);
}

/* probe() -> float: asks the loop for a sign of life. Returns the age of an unanswered probe in
 * seconds. */
static PyObject *app_probe(PyObject *object, PyObject *ignored) {
    (void)ignored;
    return PyFloat_FromDouble((double)asgi_probe((snake_generation *)object) / 1e6);
}

/* stop(): the app takes no more requests; Go guarantees to send none. */
static PyObject *app_stop(PyObject *object, PyObject *ignored) {
    (void)ignored;
    snake_generation *self = (snake_generation *)object;
    if (self->kind == APP_WSGI)
        wsgi_pool_remove_app(self);
    self->kind = APP_NONE;
    app_clear(object);
    Py_RETURN_NONE;
}

static PyObject *app_handle(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromVoidPtr(object);
}

static PyObject *app_inflight(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(
        __atomic_load_n(&((snake_generation *)object)->inflight, __ATOMIC_ACQUIRE));
}

static PyMethodDef app_methods[] = {
    {"serve_wsgi", app_serve_wsgi, METH_VARARGS, "serve_wsgi(callable, environ, threads)"},
    {"serve_asgi", app_serve_asgi, METH_VARARGS,
     "serve_asgi(callable, scope, websocket_scope, extensions, state, loop, new_task, "
     "new_task_options)"},
    {"select", app_select, METH_VARARGS, "select(timeout, files) -> int: the loop's sleep."},
    {"wake", app_wake, METH_NOARGS, "wake(): ends the loop's select()."},
    {"watch", app_watch, METH_NOARGS, "watch() -> int: an fd, for loops that do not select()."},
    {"drain", app_drain, METH_NOARGS, "drain(): starts queued requests; the loop's reader."},
    {"wait_idle", app_wait_idle, METH_O, "wait_idle(timeout) -> bool: no request runs."},
    {"cancel", app_cancel, METH_O, "cancel(answered): cancels the requests that still run."},
    {"answered", app_answered, METH_NOARGS, "answered() -> scopes of requests that run on."},
    {"coroutines", app_coroutines, METH_NOARGS, "coroutines() -> what runs on the loop."},
    {"probe", app_probe, METH_NOARGS, "probe() -> float: seconds since an unanswered probe."},
    {"stop", app_stop, METH_NOARGS, "stop(): drops the app's objects."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef app_getset[] = {
    {"handle", app_handle, NULL, "The pointer for snake_push.", NULL},
    {"inflight", app_inflight, NULL, "Requests that have not finished.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot app_slots[] = {
    {Py_tp_doc, "Generation(view): one loaded generation of an app."},
    {Py_tp_new, app_new},
    {Py_tp_traverse, app_traverse},
    {Py_tp_clear, app_clear},
    {Py_tp_dealloc, app_dealloc},
    {Py_tp_methods, app_methods},
    {Py_tp_getset, app_getset},
    {0, NULL},
};
PyType_Spec generation_spec = {
    .name = "_caddysnake.Generation",
    .basicsize = sizeof(snake_generation),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = app_slots,
};
