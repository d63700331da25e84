/* The _caddysnake module and the start of the core. */
#include "asgi.h"
#include "view.h"
#include "worker.h"
#include "wsgi.h"
#include <ctype.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static snake_options options; /* copied at start, constant afterwards */
static int control = -1;      /* a worker's control socket; -1 in Caddy's process */

/* ---- module functions */

/* log(level, app, source, message): puts a record on Caddy's log. */
static PyObject *module_log(PyObject *module, PyObject *args) {
    (void)module;
    unsigned int level, app;
    const char *source, *message;
    Py_ssize_t source_len, message_len;
    if (!PyArg_ParseTuple(args, "IIs#y#:log", &level, &app, &source, &source_len, &message,
                          &message_len))
        return NULL;
    if (log_put(level, app, source, (size_t)source_len, message, (size_t)message_len) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* set_hooks(error, input, file, system, restore, settle, owner): see HOOK_* in core.h. */
static PyObject *module_set_hooks(PyObject *module, PyObject *args) {
    core *st = PyModule_GetState(module);
    PyObject *hooks[HOOK_COUNT];
    if (!PyArg_ParseTuple(args, "OOOOOOO:set_hooks", &hooks[HOOK_ERROR], &hooks[HOOK_INPUT],
                          &hooks[HOOK_FILE], &hooks[HOOK_SYSTEM], &hooks[HOOK_RESTORE],
                          &hooks[HOOK_SETTLE], &hooks[HOOK_OWNER]))
        return NULL;
    for (int i = 0; i < HOOK_COUNT; i++) {
        PyObject *old = st->hooks[i];
        st->hooks[i] = Py_NewRef(hooks[i]);
        Py_XDECREF(old);
    }
    Py_RETURN_NONE;
}

static PyObject *module_current_app(PyObject *module, PyObject *ignored) {
    (void)ignored;
    view_refresh_by(module);
    return PyLong_FromUnsignedLong(current_app);
}

/* is_servers(fd): whether Go or the core uses the descriptor. */
static PyObject *module_is_servers(PyObject *module, PyObject *args) {
    (void)module;
    int fd;
    if (!PyArg_ParseTuple(args, "i:is_servers", &fd))
        return NULL;
    int completions = snake_completions();
    bool is_servers;
    Py_BEGIN_ALLOW_THREADS;
    is_servers = fd == completions || fd == snake_logs().fd || fd == snake_answers().fd ||
                 netpoll_has(completions, fd);
    Py_END_ALLOW_THREADS;
    return PyBool_FromLong(is_servers);
}

static PyMethodDef module_methods[] = {
    {"log", module_log, METH_VARARGS, "log(level: int, app: int, source: str, message: bytes)"},
    {"set_hooks", module_set_hooks, METH_VARARGS,
     "set_hooks(error, input, file, system, restore, settle, owner)"},
    {"attach", worker_attach, METH_VARARGS,
     "attach(control, segment, down, up): what a worker process shares with Caddy."},
    {"next_command", command_next, METH_NOARGS, "next_command() -> Command: waits for Go."},
    {"wsgi_serve", wsgi_serve, METH_NOARGS, "wsgi_serve(): the body of a WSGI thread."},
    {"wsgi_next_thread", wsgi_pool_next_thread, METH_NOARGS,
     "wsgi_next_thread(): waits until another WSGI thread must be started."},
    {"wsgi_thread_failed", wsgi_pool_thread_failed, METH_NOARGS,
     "wsgi_thread_failed(): the requested thread can't be started."},
    {"wsgi_running", wsgi_threads_running, METH_NOARGS,
     "wsgi_running() -> [(thread, app, serial, seconds, timed out)]"},
    {"wsgi_requests", wsgi_threads_requests, METH_NOARGS,
     "wsgi_requests() -> [(app, slot, serial, thread)]"},
    {"wsgi_interrupt", wsgi_thread_interrupt, METH_VARARGS,
     "wsgi_interrupt(thread, serial, exception) -> bool: raises it in a running request, once."},
    {"is_servers", module_is_servers, METH_VARARGS,
     "is_servers(fd: int) -> bool: whether Go or the core uses the descriptor."},
    {"current_app", module_current_app, METH_NOARGS, "Id of the app this thread works for, or 0."},
    {"current_view", view_module_current, METH_NOARGS, "The view of this thread, or None."},
    {"enter", view_module_enter, METH_O,
     "enter(view): this thread works for the view's app, or for none."},
    {"switch", view_module_switch, METH_O,
     "switch(view) -> the view before: this thread looks through another view for a while."},
    {"owner", view_module_owner, METH_O,
     "owner(name) -> the view that a visible module belongs to; else the current one."},
    {"take_locals", locals_take, METH_O,
     "take_locals(app): takes what the app has kept in threading.local from all threads."},
    {"thread_touched", wsgi_thread_touched, METH_O,
     "thread_touched(spoiled): system state of this thread has changed; spoiled: for good."},
    {"forget_answers", view_forget_answers, METH_NOARGS,
     "forget_answers(): drops the modules that planted names hold."},
    {"collect", heap_collect, METH_O,
     "collect(objects) -> int: empties the list, and frees objects reachable only from it."},
    {"adopt_modules", view_adopt_modules, METH_NOARGS,
     "adopt_modules(): makes sys.modules answer for the current view."},
    {"stacks", stacks_of_threads, METH_VARARGS,
     "stacks(current_frames, codes, depth) -> {thread: (id(code), ...)}; codes gets the codes."},
    {"watch_caddy", worker_watch_caddy, METH_VARARGS,
     "watch_caddy(fd, seconds): ends a worker that outlives its control socket's peer."},
    {"lazy_importer", lazy_importer, METH_VARARGS,
     "lazy_importer(original, pending, names, before, after): a __lazy_import__ for builtins."},
    {"open_guard", open_guard, METH_VARARGS,
     "open_guard(original, of_descriptor, add_file): an open() that passes descriptors to "
     "of_descriptor, and the other files that it opens to add_file."},
    {NULL, NULL, 0, NULL},
};

/* ---- module state */

static int init_strings(core *st) {
#define X(n)                                                                                       \
    if (!(st->s_##n = PyUnicode_InternFromString(#n)))                                             \
        return -1;
    SNAKE_NAMES(X)
#undef X
#define X(n, text)                                                                                 \
    if (!(st->s_##n = PyUnicode_InternFromString(text)))                                           \
        return -1;
    SNAKE_STRINGS(X)
#undef X
    st->empty_str = PyUnicode_FromStringAndSize("", 0);
    st->empty_bytes = PyBytes_FromStringAndSize("", 0);
    return st->empty_str && st->empty_bytes ? 0 : -1;
}

static int init_header_names(core *st) {
    st->header_count = options.header_count;
    st->header_names = calloc(st->header_count + 1, sizeof *st->header_names);
    if (!st->header_names) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 1; i <= st->header_count; i++) {
        header_name *name = &st->header_names[i];
        char key[128] = "HTTP_", lower[128] = "";
        const char *canonical = options.header_names[i - 1];
        size_t len = strlen(canonical);
        if (len >= sizeof key - 6) {
            PyErr_SetString(PyExc_ValueError, "header name too long");
            return -1;
        }
        for (size_t j = 0; j < len; j++) {
            char c = canonical[j];
            key[5 + j] = c == '-' ? '_' : (char)toupper(c);
            lower[j] = (char)tolower(c);
        }
        /* CGI names these two headers without HTTP_. */
        bool bare = !strcmp(lower, "content-type") || !strcmp(lower, "content-length");
        name->environ_key = PyUnicode_InternFromString(bare ? key + 5 : key);
        name->lower = PyBytes_FromString(lower);
        name->secret = !strcmp(lower, "cookie") || !strcmp(lower, "authorization");
        if (!name->environ_key || !name->lower)
            return -1;
    }
    return 0;
}

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type && PyModule_AddType(module, (PyTypeObject *)type) < 0)
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

static PyObject *imported(const char *module_name, const char *name) {
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *object = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return object;
}

static int module_exec(PyObject *module) {
    core *st = PyModule_GetState(module);
    if (init_strings(st) < 0 || init_header_names(st) < 0)
        return -1;
    if (!(st->generation_type = add_type(module, &generation_spec)) ||
        !(st->command_type = add_type(module, &command_spec)) ||
        !(st->wsgi_type = add_type(module, &wsgi_spec)) ||
        !(st->asgi_type = add_type(module, &asgi_spec)) ||
        !(st->await_type = add_type(module, &asgi_await_spec)) ||
        !(st->view_type = add_type(module, &view_spec)) ||
        !(st->local_type = add_type(module, &local_spec)) ||
        (control < 0 && locals_install(st) < 0) || /* a worker is one app's, and a plain Python */
        property_module_add_type(module) < 0)
        return -1;
    if (PyModule_AddIntConstant(module, "TURN", LOOP_TURN) < 0 ||
        PyModule_AddIntConstant(module, "FILES", LOOP_FILES) < 0)
        return -1;
    st->bytes_io = imported("io", "BytesIO");
    st->file_wrapper = imported("wsgiref.util", "FileWrapper");
    st->context = imported("contextvars", "Context");
    st->cancelled_error = imported("asyncio", "CancelledError");
    st->current_thread = imported("threading", "current_thread");
    st->gettrace = imported("sys", "gettrace");
    st->settrace = imported("sys", "settrace");
    st->getprofile = imported("sys", "getprofile");
    st->setprofile = imported("sys", "setprofile");
    st->set_asyncgen_hooks = imported("sys", "set_asyncgen_hooks");
    st->set_origin_depth = imported("sys", "set_coroutine_origin_tracking_depth");
    st->get_running_loop = imported("asyncio", "_get_running_loop");
    st->set_running_loop = imported("asyncio", "_set_running_loop");
    st->disconnect_message = Py_BuildValue("{ss}", "type", "http.disconnect");
    st->request_message =
        Py_BuildValue("{sssysO}", "type", "http.request", "body", "", "more_body", Py_False);
    return st->bytes_io && st->file_wrapper && st->context && st->cancelled_error &&
                   st->current_thread && st->gettrace && st->settrace && st->getprofile &&
                   st->setprofile && st->set_asyncgen_hooks && st->set_origin_depth &&
                   st->get_running_loop && st->set_running_loop && st->disconnect_message &&
                   st->request_message
               ? 0
               : -1;
}

/* The number of references in the state, for traverse and clear. */
enum { REFERENCES = offsetof(core, header_names) / sizeof(PyObject *) };

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    PyObject **references = PyModule_GetState(module);
    for (size_t i = 0; i < REFERENCES; i++)
        Py_VISIT(references[i]);
    return 0;
}

static int module_clear(PyObject *module) {
    core *st = PyModule_GetState(module);
    PyObject **references = (PyObject **)st;
    for (size_t i = 0; i < REFERENCES; i++)
        Py_CLEAR(references[i]);
    for (uint32_t i = 1; st->header_names && i <= st->header_count; i++) {
        Py_CLEAR(st->header_names[i].environ_key);
        Py_CLEAR(st->header_names[i].lower);
    }
    return 0;
}

static void module_free(void *module) {
    core *st = PyModule_GetState(module);
    module_clear(module);
    free(st->header_names);
    st->header_names = NULL;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};
static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_caddysnake",
    .m_doc = "The C core of caddysnake: private to caddysnake_py.",
    .m_size = sizeof(core),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

/* ---- start */

/* Creates the module from its definition and puts it into sys.modules. New reference. */
static PyObject *create_module(void) {
    PyObject *machinery = PyImport_ImportModule("importlib.machinery");
    PyObject *spec =
        machinery ? PyObject_CallMethod(machinery, "ModuleSpec", "sO", "_caddysnake", Py_None)
                  : NULL;
    PyObject *module = spec ? PyModule_FromDefAndSpec(&module_def, spec) : NULL;
    PyObject *name = module ? PyModule_GetNameObject(module) : NULL;
    if (module && (!name || PyModule_ExecDef(module, &module_def) < 0 ||
                   PyObject_SetItem(PyImport_GetModuleDict(), name, module) < 0))
        Py_CLEAR(module);
    Py_XDECREF(name);
    Py_XDECREF(spec);
    Py_XDECREF(machinery);
    return module;
}

/* Takes a NUL-terminated text; NULL if there is none. */
static const char *next_text(cursor *c) {
    const unsigned char *nul = memchr(c->p, 0, cursor_left(c));
    return nul ? cursor_take(c, (size_t)(nul - c->p) + 1).p : NULL;
}

/* {"bridge": "source…"} of the embedded package. */
static PyObject *sources_dict(void) {
    const unsigned char *packed = (const unsigned char *)options.sources;
    cursor c = {packed, packed + options.sources_len, false};
    PyObject *dict = PyDict_New();
    while (dict && cursor_left(&c)) {
        const char *name = next_text(&c), *source = name ? next_text(&c) : NULL;
        PyObject *text = source ? PyUnicode_FromString(source) : NULL;
        if (!source)
            PyErr_SetString(PyExc_SystemError, "the embedded caddysnake_py is incomplete");
        if (!text || PyDict_SetItemString(dict, name, text) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(text);
    }
    return dict;
}

/* Runs bootstrap.py with SOURCES and CONTROL among its globals. Returns its globals. */
static PyObject *run_bootstrap(PyObject *sources) {
    PyObject *bootstrap = PyDict_GetItemString(sources, "bootstrap"); /* borrowed */
    const char *text = bootstrap ? PyUnicode_AsUTF8AndSize(bootstrap, NULL) : NULL;
    if (!text) {
        PyErr_SetString(PyExc_ImportError, "the embedded caddysnake_py has no bootstrap");
        return NULL;
    }
    PyObject *code = Py_CompileString(text, "<caddysnake_py/bootstrap.py>", Py_file_input);
    PyObject *globals = code ? PyDict_New() : NULL, *fd = NULL, *result = NULL;
    if (globals && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0 &&
        PyDict_SetItemString(globals, "SOURCES", sources) == 0 && (fd = PyLong_FromLong(control)) &&
        PyDict_SetItemString(globals, "CONTROL", fd) == 0)
        result = PyEval_EvalCode(code, globals, globals);
    if (!result)
        Py_CLEAR(globals);
    Py_XDECREF(result);
    Py_XDECREF(fd);
    Py_XDECREF(code);
    return globals;
}

/* Creates the module and runs the bridge package. Returns the globals of bootstrap.py. */
static PyObject *run_bridge(void) {
    PyObject *module = create_module();
    PyObject *sources = module ? sources_dict() : NULL;
    PyObject *globals = sources ? run_bootstrap(sources) : NULL;
    Py_XDECREF(sources);
    Py_XDECREF(module);
    return globals;
}

int snake_adopt(void) {
    PyObject *globals = run_bridge();
    int rc = globals ? 0 : -1;
    Py_XDECREF(globals);
    return rc;
}

int snake_work(const snake_options *given, int fd) {
    options = *given;
    control = fd;
    PyObject *globals = run_bridge();
    PyObject *code = globals ? PyDict_GetItemString(globals, "EXIT_CODE") : NULL; /* borrowed */
    long exit_code = code ? PyLong_AsLong(code) : -1;
    if (!code || (exit_code == -1 && PyErr_Occurred())) {
        PyErr_Print();
        exit_code = EXIT_FAILURE;
    }
    Py_XDECREF(globals);
    return (int)exit_code;
}

const char *snake_python_version(void) { return Py_GetVersion(); }

int snake_start(const snake_options *given, char *err, size_t err_cap) {
    options = *given;
    monitor_add(completions_watch);
    monitor_add(wsgi_pool_watch);
    monitor_add(asgi_gate_watch);
    if (completions_init() < 0 || log_list_init() < 0 || commands_init() < 0 ||
        fork_init(snake_completions()) < 0 || monitor_start() < 0) {
        PyOS_snprintf(err, err_cap, "not enough descriptors, memory or threads");
        return -1;
    }
    return snake_own_interpreter(err, err_cap);
}
