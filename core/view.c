/* Views of sys.modules: the modules that a thread's imports find.
 *
 * Every app has a view. A lookup searches the app's own modules, then its layers (its virtual
 * environment, then perhaps that of the host), then the base: the real sys.modules, with the
 * standard library. A thread-local pointer names the view of the current thread. The type of the
 * live dict behind sys.modules is replaced by a subclass that answers for the current view.
 * Python's C code uses that very object, and the mapping protocol when it is not an exact dict, so
 * import statements, importlib, pickle and sys.modules[__name__] all see the view
 * (docs/decisions/0020).
 *
 * caddysnake_py decides which view owns a module, and hence under which view the module's body
 * runs. */
#include "view.h"

/* ---- finding a module */

/* Whether the list has changed since the claims were made: no hook reports sys.path.append() or
 * sys.path[0] = "...". */
static bool path_differs(snake_view *self) {
    if (!self->path || !PyList_Check(self->path))
        return false;
    Py_ssize_t size = PyList_Size(self->path);
    if (!self->path_seen || PyTuple_Size(self->path_seen) != size)
        return true;
    for (Py_ssize_t i = 0; i < size; i++)
        if (PyList_GetItem(self->path, i) != PyTuple_GetItem(self->path_seen, i))
            return true;
    return false;
}

/* Calls path_changed() if the path differs. -1 with an exception. */
static int check_path(snake_view *self) {
    static __thread bool is_checking; /* path_changed() itself may import */
    if (is_checking || !path_differs(self))
        return 0;
    PyObject *seen = PyList_AsTuple(self->path);
    if (!seen)
        return -1;
    is_checking = true;
    PyObject *done = PyObject_CallMethod((PyObject *)self, "path_changed", NULL);
    is_checking = false;
    if (!done) {
        Py_DECREF(seen);
        return -1;
    }
    Py_DECREF(done);
    /* Set last: another thread must not use the old claims for the new path. */
    PyObject *before = self->path_seen;
    self->path_seen = seen;
    Py_XDECREF(before);
    return 0;
}

/* 1: self hides modules of that name in outer views. -1 with an exception. */
static int claims_name(snake_view *self, PyObject *name) {
    if (!self->claims || !PyUnicode_Check(name))
        return 0;
    if (check_path(self) < 0)
        return -1;
    Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, PyUnicode_GetLength(name), 1);
    if (dot == -2)
        return -1;
    PyObject *claims = self->claims;
    if (!claims)
        return 0;
    PyObject *top = dot == -1 ? Py_NewRef(name) : PyUnicode_Substring(name, 0, dot);
    Py_INCREF(claims); /* a name's own __eq__ may run, and let other threads run */
    int claimed = top ? PySet_Contains(claims, top) : -1;
    Py_DECREF(claims);
    Py_XDECREF(top);
    return claimed;
}

/* Other views can't see a module that a view is still loading. Code that reads sys.modules directly
 * would see a half-initialised module; `import` would wait on the module lock. */
int view_sees(snake_view *self, snake_view *holder, PyObject *name) {
    if (holder && holder != self && PySet_Size(holder->loading) > 0) {
        int is_loading = PySet_Contains(holder->loading, name);
        if (is_loading)
            return is_loading < 0 ? -1 : 0;
    }
    for (snake_view *v = self; v != holder; v = v->outer) {
        int claimed = claims_name(v, name);
        if (claimed)
            return claimed < 0 ? -1 : 0;
    }
    return 1;
}

PyObject *view_find(snake_view *self, PyObject *base, PyObject *name, snake_view **holder) {
    PyObject *found = NULL;
    snake_view *v = self;
    for (; v; v = v->outer) {
        found = PyDict_GetItemWithError(v->modules, name);
        if (found || PyErr_Occurred())
            break;
    }
    if (!v)
        found = base_get(base, name);
    if (!found || found == (PyObject *)Py_TYPE(base))
        return NULL;
    Py_INCREF(found);
    int visible = v == self ? 1 : view_sees(self, v, name);
    if (visible <= 0)
        Py_CLEAR(found);
    *holder = v;
    return found;
}

PyObject *view_lookup(PyObject *base, PyObject *name) {
    snake_view *holder;
    view_refresh(base);
    return view_find(current_view, base, name, &holder);
}

/* ---- View(app, outer) */

static PyObject *view_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    unsigned int app;
    PyObject *outer;
    core *st = PyType_GetModuleState((PyTypeObject *)PyType_GetSlot(type, Py_tp_base));
    if (!st) {
        PyErr_SetString(PyExc_TypeError, "View must be subclassed directly");
        return NULL;
    }
    static char *names[] = {"app", "outer", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "IO:View", names, &app, &outer))
        return NULL;
    if (outer != Py_None && !PyObject_TypeCheck(outer, st->view_type)) {
        PyErr_SetString(PyExc_TypeError, "outer must be a View or None");
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    snake_view *self = (snake_view *)alloc(type, 0);
    if (!self)
        return NULL;
    self->app = app;
    self->outer = outer == Py_None ? NULL : (snake_view *)Py_NewRef(outer);
    self->modules = PyDict_New();
    self->loading = PySet_New(NULL);
    if (!self->modules || !self->loading)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int view_traverse(PyObject *object, visitproc visit, void *arg) {
    snake_view *self = (snake_view *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->modules);
    Py_VISIT(self->outer);
    Py_VISIT(self->claims);
    Py_VISIT(self->loading);
    Py_VISIT(self->path);
    Py_VISIT(self->path_seen);
    return 0;
}

/* Keeps the other fields: view_find() relies on them while some thread uses the view. */
static int view_clear(PyObject *object) {
    snake_view *self = (snake_view *)object;
    if (self->modules)
        PyDict_Clear(self->modules);
    Py_CLEAR(self->claims);
    Py_CLEAR(self->path);
    Py_CLEAR(self->path_seen);
    return 0;
}

static void view_dealloc(PyObject *object) {
    snake_view *self = (snake_view *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_CLEAR(self->modules);
    Py_CLEAR(self->outer);
    Py_CLEAR(self->loading);
    Py_CLEAR(self->claims);
    Py_CLEAR(self->path);
    Py_CLEAR(self->path_seen);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyObject *view_get_modules(PyObject *object, void *unused) {
    (void)unused;
    return Py_NewRef(((snake_view *)object)->modules);
}

static PyObject *view_get_outer(PyObject *object, void *unused) {
    (void)unused;
    snake_view *outer = ((snake_view *)object)->outer;
    return Py_NewRef(outer ? (PyObject *)outer : Py_None);
}

static PyObject *view_get_app(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(((snake_view *)object)->app);
}

static PyObject *view_get_path(PyObject *object, void *unused) {
    (void)unused;
    PyObject *path = ((snake_view *)object)->path;
    return Py_NewRef(path ? path : Py_None);
}

static int view_set_path(PyObject *object, PyObject *path, void *unused) {
    (void)unused;
    snake_view *self = (snake_view *)object;
    if (!path) {
        PyErr_SetString(PyExc_AttributeError, "path cannot be deleted");
        return -1;
    }
    PyObject *before = self->path;
    PyObject *seen = self->path_seen;
    self->path = Py_NewRef(path);
    self->path_seen = NULL; /* so the next check_path() renews the claims */
    Py_XDECREF(seen);
    Py_XDECREF(before);
    return 0;
}

static PyObject *view_get_claims(PyObject *object, void *unused) {
    (void)unused;
    PyObject *claims = ((snake_view *)object)->claims;
    return Py_NewRef(claims ? claims : Py_None);
}

static int view_set_claims(PyObject *object, PyObject *claims, void *unused) {
    (void)unused;
    snake_view *self = (snake_view *)object;
    if (!claims || !PyAnySet_Check(claims)) {
        PyErr_SetString(PyExc_TypeError, "claims must be a set");
        return -1;
    }
    PyObject *before = self->claims;
    self->claims = Py_NewRef(claims);
    Py_XDECREF(before);
    return 0;
}

static PyObject *view_get_loading(PyObject *object, void *unused) {
    (void)unused;
    return Py_NewRef(((snake_view *)object)->loading);
}

static PyObject *view_path_changed(PyObject *object, PyObject *ignored) {
    (void)object;
    (void)ignored;
    Py_RETURN_NONE;
}

static PyMethodDef view_methods[] = {
    {"path_changed", view_path_changed, METH_NOARGS,
     "path_changed(): sys.path was edited; subclasses renew their claims."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef view_getset[] = {
    {"modules", view_get_modules, NULL, "The modules that this view owns, by name.", NULL},
    {"outer", view_get_outer, NULL, "The view behind this one, or None: the base.", NULL},
    {"app", view_get_app, NULL, "Id of the app, or 0.", NULL},
    {"path", view_get_path, view_set_path, "sys.path under this view.", NULL},
    {"loading", view_get_loading, NULL, "Names of modules that are not complete yet.", NULL},
    {"claims", view_get_claims, view_set_claims,
     "Top-level names that are never looked up further out.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot view_slots[] = {
    {Py_tp_doc, "View(app, outer): what the threads of an app see when they import."},
    {Py_tp_new, view_new},
    {Py_tp_traverse, view_traverse},
    {Py_tp_clear, view_clear},
    {Py_tp_dealloc, view_dealloc},
    {Py_tp_methods, view_methods},
    {Py_tp_getset, view_getset},
    {0, NULL},
};
PyType_Spec view_spec = {
    .name = "_caddysnake.View",
    .basicsize = sizeof(snake_view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = view_slots,
};

/* ---- the current thread's view */

/* Accepts a View or None. -1 with an exception. */
static int view_argument(PyObject *module, PyObject *object, snake_view **view) {
    core *st = PyModule_GetState(module);
    if (object != Py_None && !PyObject_TypeCheck(object, st->view_type)) {
        PyErr_SetString(PyExc_TypeError, "a View or None is needed");
        return -1;
    }
    *view = object == Py_None ? NULL : (snake_view *)object;
    return 0;
}

PyObject *view_module_enter(PyObject *module, PyObject *object) {
    snake_view *view;
    if (view_argument(module, object, &view) < 0)
        return NULL;
    view_leave();
    if (view)
        view_enter(view, view->app);
    Py_RETURN_NONE;
}

PyObject *view_module_switch(PyObject *module, PyObject *object) {
    snake_view *view;
    if (view_argument(module, object, &view) < 0)
        return NULL;
    view_refresh_by(module);
    snake_view *before = current_view;
    Py_XINCREF(view);
    current_view = view;
    return before ? (PyObject *)before : Py_NewRef(Py_None);
}

PyObject *view_module_current(PyObject *module, PyObject *ignored) {
    (void)ignored;
    view_refresh_by(module);
    return Py_NewRef(current_view ? (PyObject *)current_view : Py_None);
}

PyObject *view_module_owner(PyObject *module, PyObject *name) {
    view_refresh_by(module);
    PyObject *base = PyImport_GetModuleDict(); /* borrowed */
    snake_view *view = current_view, *owner = view, *holder;
    PyObject *found = view_find(view, base, name, &holder);
    if (!found && PyErr_Occurred())
        return NULL;
    if (found) {
        /* An inner view may hold an alias; the owner is the outermost view that has the module. */
        owner = base_get(base, name) == found ? NULL : holder;
        for (snake_view *v = owner ? owner->outer : NULL; v; v = v->outer)
            if (PyDict_GetItemWithError(v->modules, name) == found)
                owner = v;
        Py_DECREF(found);
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(owner ? (PyObject *)owner : Py_None);
}
