/* Views of sys.modules: what a thread finds when it imports.
 *
 * Every app has a view: modules of its own before those of the layers behind it (its virtual
 * environment, then perhaps that of the host), before the base: the real sys.modules, with the
 * standard library. A thread-local pointer names the view of the current thread. The live dict
 * behind sys.modules is given a subclass that answers for it: C code of Python uses that very
 * object and falls back to the mapping protocol when it is no exact dict, so import statements,
 * importlib, pickle and sys.modules[__name__] all see the view (docs/decisions/0020).
 *
 * Who owns a module, and hence under which view its body runs, is decided in caddysnake_py. */
#include "core.h"

/* Python subclasses add what concerns only them. */
struct snake_view {
    PyObject_HEAD
    PyObject *modules;        /* dict: name -> module; the type Modules stands for "deleted here" */
    struct snake_view *outer; /* where to look next; NULL: the base */
    PyObject *claims;         /* set of top-level names that are never looked up further out */
    PyObject *loading;        /* set of names whose modules are not complete yet */
    PyObject *path;      /* sys.path under this view; a list, as long as nobody assigns nonsense */
    PyObject *path_seen; /* tuple: what was in path when the claims were made */
    uint32_t app;        /* id of the app, 0 for a layer */
};

__thread uint32_t current_app;
__thread snake_view *current_view;

uint32_t view_app(const snake_view *view) { return view->app; }

/* ---- finding a module */

/* Whether the list has other items than when the claims were made: nothing else tells of
 * sys.path.append(), or sys.path[0] = "...". */
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
    /* Only now: another thread must not take the old claims for those of the new path. */
    PyObject *before = self->path_seen;
    self->path_seen = seen;
    Py_XDECREF(before);
    return 0;
}

/* 1: a module of that name from further out must not be seen through self. -1 with an exception. */
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
    Py_INCREF(claims); /* a name may be of a class with an __eq__, and other threads go on then */
    int claimed = top ? PySet_Contains(claims, top) : -1;
    Py_DECREF(claims);
    Py_XDECREF(top);
    return claimed;
}

/* 1: what holder (NULL: the base) has under that name can be seen from self. What it is still
 * loading can't: code that looks into sys.modules by itself would take half a module, where that
 * which imports waits for it. */
static int is_visible(snake_view *self, snake_view *holder, PyObject *name) {
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

/* What the base itself has. Borrowed; NULL perhaps with an exception. */
static __thread bool in_base; /* planted names don't answer */
static PyObject *base_get(PyObject *base, PyObject *name) {
    bool before = in_base; /* a name of a class with an __eq__ can bring us here again */
    in_base = true;
    PyObject *found = PyDict_GetItemWithError(base, name);
    in_base = before;
    return found;
}

/* Has a planted name answer with a module. What it answered before may be freed by that, and run
 * code: not before the planted names of this thread are themselves again. */
static int base_answer(PyObject *base, PyObject *planted, PyObject *module) {
    PyObject *before = base_get(base, planted);
    Py_XINCREF(before);
    bool was_in_base = in_base;
    in_base = true;
    int rc = PyDict_SetItem(base, planted, module);
    in_base = was_in_base;
    Py_XDECREF(before);
    return rc;
}

/* The module that self (NULL: the base) sees. New reference; NULL without an exception when there
 * is none. The view that has it goes to *holder. */
static PyObject *find(snake_view *self, PyObject *base, PyObject *name, snake_view **holder) {
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
    int visible = v == self ? 1 : is_visible(self, v, name);
    if (visible <= 0)
        Py_CLEAR(found);
    *holder = v;
    return found;
}

static PyObject *lookup(PyObject *base, PyObject *name) {
    snake_view *holder;
    return find(current_view, base, name, &holder);
}

/* ---- names for C code that reads the dict itself
 *
 * Some extension modules use PyDict_GetItem on sys.modules, which knows no subclass and would find
 * what the base has. For each name of a module that some view owns, a key of type Name is planted
 * in the base. It has the hash of the name, so the dict asks it whether it equals the name that is
 * looked for; it makes itself equal if the current view has such a module, which it puts where the
 * dict is about to read the value. */

static PyObject *name_compare(PyObject *self, PyObject *other, int op) {
    if (in_base || op != Py_EQ || !current_view || !PyUnicode_CheckExact(other))
        return PyBool_FromLong(op == Py_NE);
    int order = PyUnicode_Compare(self, other);
    if (order)
        return order == -1 && PyErr_Occurred() ? NULL : Py_NewRef(Py_False);
    PyObject *base = PyImport_GetModuleDict(); /* borrowed */
    PyObject *module = lookup(base, other);
    if (!module)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_False);
    /* Code that ran when the old answer was freed may have let another thread answer. */
    int rc = 0;
    while (rc == 0 && base_get(base, self) != module)
        rc = base_answer(base, self, module);
    Py_DECREF(module); /* not the last reference: the dict has one */
    return rc < 0 ? NULL : Py_NewRef(Py_True);
}

static Py_hash_t name_hash(PyObject *self) {
    hashfunc hash = (hashfunc)PyType_GetSlot(&PyUnicode_Type, Py_tp_hash);
    return hash(self);
}

static PyType_Slot name_slots[] = {
    {Py_tp_doc, "A key of sys.modules that answers for the current view."},
    {Py_tp_richcompare, name_compare},
    {Py_tp_hash, name_hash},
    {0, NULL},
};
static PyType_Spec name_spec = {
    .name = "_caddysnake.Name",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = name_slots,
};

/* Plants a name once. -1 with an exception. */
static int plant_name(PyObject *base, PyObject *name) {
    core *st = PyType_GetModuleState(Py_TYPE(base));
    if (!PyUnicode_CheckExact(name))
        return 0;
    int planted = PySet_Contains(st->planted, name);
    if (planted)
        return planted < 0 ? -1 : 0;
    PyObject *key = PyObject_CallFunctionObjArgs((PyObject *)st->name_type, name, NULL);
    int rc = key ? base_answer(base, key, Py_None) : -1;
    Py_XDECREF(key);
    return rc < 0 ? -1 : PySet_Add(st->planted, name);
}

PyObject *view_forget_answers(PyObject *module, PyObject *ignored) {
    (void)ignored;
    core *st = PyModule_GetState(module);
    PyObject *base = PyImport_GetModuleDict(), *keys = PyList_New(0), *key, *value; /* borrowed */
    Py_ssize_t position = 0;
    int rc = keys ? 0 : -1;
    while (rc == 0 && PyDict_Next(base, &position, &key, &value))
        if (Py_TYPE(key) == st->name_type && value != Py_None)
            rc = PyList_Append(keys, key);
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_Size(keys); i++)
        rc = base_answer(base, PyList_GetItem(keys, i), Py_None);
    Py_XDECREF(keys);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- sys.modules, a dict subclass; self is the base */

static PyObject *modules_subscript(PyObject *self, PyObject *name) {
    PyObject *module = lookup(self, name);
    if (!module && !PyErr_Occurred())
        PyErr_SetObject(PyExc_KeyError, name);
    return module;
}

static int modules_delete(PyObject *self, PyObject *name) {
    snake_view *view = current_view, *holder = NULL;
    if (!view)
        return PyDict_DelItem(self, name);
    PyObject *module = find(view, self, name, &holder);
    if (!module) {
        if (!PyErr_Occurred())
            PyErr_SetObject(PyExc_KeyError, name);
        return -1;
    }
    Py_DECREF(module);
    /* What belongs to all stays there, and only disappears from this view. */
    bool elsewhere = holder != view;
    for (snake_view *v = view->outer; v && !elsewhere; v = v->outer)
        elsewhere = PyDict_Contains(v->modules, name) > 0;
    if (elsewhere || base_get(self, name))
        return PyDict_SetItem(view->modules, name, (PyObject *)Py_TYPE(self));
    return PyDict_DelItem(view->modules, name);
}

static int modules_ass_subscript(PyObject *self, PyObject *name, PyObject *module) {
    if (!module)
        return modules_delete(self, name);
    if (!current_view)
        return PyDict_SetItem(self, name, module);
    return plant_name(self, name) < 0 ? -1 : PyDict_SetItem(current_view->modules, name, module);
}

static int modules_contains(PyObject *self, PyObject *name) {
    PyObject *module = lookup(self, name);
    Py_XDECREF(module);
    return module ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* Adds to seen what holder (NULL: the base) contributes to self. The items of the base are read
 * with PyDict_Next, because everything else would ask us again. */
static int add_visible(PyObject *seen, PyObject *base, snake_view *self, snake_view *holder) {
    core *st = PyType_GetModuleState(Py_TYPE(base));
    PyObject *names = PyList_New(0), *modules = holder ? holder->modules : base;
    PyObject *name, *module;
    Py_ssize_t position = 0;
    int rc = names ? 0 : -1;
    while (rc == 0 && PyDict_Next(modules, &position, &name, &module))
        if (Py_TYPE(name) != st->name_type)
            rc = PyList_Append(names, name);
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_Size(names); i++) {
        name = PyList_GetItem(names, i);
        int visible = PyDict_Contains(seen, name) ? 0 : is_visible(self, holder, name);
        module = visible > 0 ? base_get(modules, name) : NULL;
        rc = visible < 0 || PyErr_Occurred() ? -1 : 0;
        if (module) {
            Py_INCREF(module);
            rc = PyDict_SetItem(seen, name, module);
            Py_DECREF(module);
        }
    }
    Py_XDECREF(names);
    return rc;
}

/* What the current view sees, as a new dict. */
static PyObject *visible_modules(PyObject *self) {
    PyObject *seen = PyDict_New();
    snake_view *view = current_view;
    Py_XINCREF(view); /* claims may run Python code */
    int rc = seen ? 0 : -1;
    for (snake_view *v = view; v && rc == 0; v = v->outer)
        rc = add_visible(seen, self, view, v);
    if (rc == 0)
        rc = add_visible(seen, self, view, NULL);
    Py_XDECREF(view);
    PyObject *name, *module, *deleted = PyList_New(0);
    Py_ssize_t position = 0;
    if (!deleted)
        rc = -1;
    while (rc == 0 && PyDict_Next(seen, &position, &name, &module))
        if (module == (PyObject *)Py_TYPE(self))
            rc = PyList_Append(deleted, name);
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_Size(deleted); i++)
        rc = PyDict_DelItem(seen, PyList_GetItem(deleted, i));
    Py_XDECREF(deleted);
    if (rc < 0)
        Py_CLEAR(seen);
    return seen;
}

static PyObject *call_on_visible(PyObject *self, const char *method) {
    PyObject *seen = visible_modules(self);
    PyObject *result = seen ? PyObject_CallMethod(seen, method, NULL) : NULL;
    Py_XDECREF(seen);
    return result;
}

static PyObject *modules_copy(PyObject *self, PyObject *ignored) {
    (void)ignored;
    return visible_modules(self);
}

static PyObject *modules_keys(PyObject *self, PyObject *ignored) {
    (void)ignored;
    return call_on_visible(self, "keys");
}

static PyObject *modules_values(PyObject *self, PyObject *ignored) {
    (void)ignored;
    return call_on_visible(self, "values");
}

static PyObject *modules_items(PyObject *self, PyObject *ignored) {
    (void)ignored;
    return call_on_visible(self, "items");
}

static PyObject *modules_reversed(PyObject *self, PyObject *ignored) {
    (void)ignored;
    return call_on_visible(self, "__reversed__");
}

static PyObject *modules_iter(PyObject *self) { return call_on_visible(self, "__iter__"); }

static PyObject *modules_repr(PyObject *self) { return call_on_visible(self, "__repr__"); }

static Py_ssize_t modules_length(PyObject *self) {
    PyObject *seen = visible_modules(self);
    Py_ssize_t size = seen ? PyDict_Size(seen) : -1;
    Py_XDECREF(seen);
    return size;
}

static PyObject *modules_get(PyObject *self, PyObject *args) {
    PyObject *name, *fallback = Py_None;
    if (!PyArg_UnpackTuple(args, "get", 1, 2, &name, &fallback))
        return NULL;
    PyObject *module = lookup(self, name);
    return module || PyErr_Occurred() ? module : Py_NewRef(fallback);
}

static PyObject *modules_pop(PyObject *self, PyObject *args) {
    PyObject *name, *fallback = NULL;
    if (!PyArg_UnpackTuple(args, "pop", 1, 2, &name, &fallback))
        return NULL;
    PyObject *module = lookup(self, name);
    if (module) {
        if (modules_delete(self, name) < 0)
            Py_CLEAR(module);
        return module;
    }
    if (PyErr_Occurred())
        return NULL;
    if (fallback)
        return Py_NewRef(fallback);
    PyErr_SetObject(PyExc_KeyError, name);
    return NULL;
}

static PyObject *modules_setdefault(PyObject *self, PyObject *args) {
    PyObject *name, *fallback = Py_None;
    if (!PyArg_UnpackTuple(args, "setdefault", 1, 2, &name, &fallback))
        return NULL;
    PyObject *module = lookup(self, name);
    if (module || PyErr_Occurred())
        return module;
    return modules_ass_subscript(self, name, fallback) < 0 ? NULL : Py_NewRef(fallback);
}

/* Stores what is not seen already: writing back a copy, as unittest.mock.patch.dict does, must
 * not make shared modules this view's own. */
static int store_all(PyObject *self, PyObject *news) {
    PyObject *name, *module;
    Py_ssize_t position = 0;
    while (PyDict_Next(news, &position, &name, &module)) {
        PyObject *before = lookup(self, name);
        Py_XDECREF(before);
        if (PyErr_Occurred() || (before != module && modules_ass_subscript(self, name, module) < 0))
            return -1;
    }
    return 0;
}

static PyObject *modules_update(PyObject *self, PyObject *args, PyObject *kwargs) {
    PyObject *news = PyObject_Call((PyObject *)&PyDict_Type, args, kwargs);
    int rc = news ? store_all(self, news) : -1;
    Py_XDECREF(news);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *modules_inplace_or(PyObject *self, PyObject *other) {
    PyObject *news = PyObject_CallFunctionObjArgs((PyObject *)&PyDict_Type, other, NULL);
    int rc = news ? store_all(self, news) : -1;
    Py_XDECREF(news);
    return rc < 0 ? NULL : Py_NewRef(self);
}

static PyObject *modules_clear(PyObject *self, PyObject *ignored) {
    (void)ignored;
    PyDict_Clear(current_view ? current_view->modules : self);
    Py_RETURN_NONE;
}

static PyObject *modules_popitem(PyObject *self, PyObject *ignored) {
    (void)ignored;
    return PyObject_CallMethod((PyObject *)&PyDict_Type, "popitem", "O",
                               current_view ? current_view->modules : self);
}

/* type(sys.modules)() is just a dict; as is copy.copy(sys.modules), which is made with it. There is
 * one object only that knows views. */
static PyObject *modules_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)type;
    return PyObject_Call((PyObject *)&PyDict_Type, args, kwargs);
}

static PyMethodDef modules_methods[] = {
    {"copy", modules_copy, METH_NOARGS, NULL},
    {"keys", modules_keys, METH_NOARGS, NULL},
    {"values", modules_values, METH_NOARGS, NULL},
    {"items", modules_items, METH_NOARGS, NULL},
    {"__reversed__", modules_reversed, METH_NOARGS, NULL},
    {"get", modules_get, METH_VARARGS, NULL},
    {"pop", modules_pop, METH_VARARGS, NULL},
    {"popitem", modules_popitem, METH_NOARGS, NULL},
    {"setdefault", modules_setdefault, METH_VARARGS, NULL},
    {"update", (PyCFunction)(void (*)(void))modules_update, METH_VARARGS | METH_KEYWORDS, NULL},
    {"clear", modules_clear, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot modules_slots[] = {
    {Py_tp_doc, "sys.modules, as the current thread's view sees it."},
    {Py_tp_methods, modules_methods},
    {Py_tp_new, modules_new},
    {Py_tp_iter, modules_iter},
    {Py_tp_repr, modules_repr},
    {Py_mp_subscript, modules_subscript},
    {Py_mp_ass_subscript, modules_ass_subscript},
    {Py_mp_length, modules_length},
    {Py_sq_contains, modules_contains},
    {Py_nb_inplace_or, modules_inplace_or},
    {0, NULL},
};
/* The size is that of dict, so that an existing dict can become one. */
static PyType_Spec modules_spec = {
    .name = "_caddysnake.Modules",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = modules_slots,
};

static PyTypeObject *subclass_of(PyObject *module, PyType_Spec *spec, PyTypeObject *base) {
    PyObject *bases = PyTuple_Pack(1, base);
    PyObject *type = bases ? PyType_FromModuleAndSpec(module, spec, bases) : NULL;
    Py_XDECREF(bases);
    return (PyTypeObject *)type;
}

PyObject *view_adopt_modules(PyObject *module, PyObject *ignored) {
    (void)ignored;
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    if (!PyDict_CheckExact(modules)) {
        PyErr_SetString(PyExc_RuntimeError, "sys.modules is not the dict that Python made");
        return NULL;
    }
    core *st = PyModule_GetState(module);
    PyTypeObject *type = subclass_of(module, &modules_spec, &PyDict_Type);
    st->name_type = subclass_of(module, &name_spec, &PyUnicode_Type);
    st->planted = PySet_New(NULL);
    if (!type || !st->name_type || !st->planted) {
        Py_XDECREF(type);
        return NULL;
    }
    Py_SET_TYPE(modules, type); /* its reference to the type is ours */
    Py_RETURN_NONE;
}

/* ---- View(app, outer) */

static PyObject *view_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    unsigned int app;
    PyObject *outer;
    core *st = PyType_GetModuleState((PyTypeObject *)PyType_GetSlot(type, Py_tp_base));
    if (!st) {
        PyErr_SetString(PyExc_TypeError, "View is there to be subclassed, directly");
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

/* The others stay: find() relies on them as long as the view is some thread's. */
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
    self->path_seen = NULL; /* the claims are to be made anew */
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
    snake_view *view, *before = current_view;
    if (view_argument(module, object, &view) < 0)
        return NULL;
    Py_XINCREF(view);
    current_view = view;
    return before ? (PyObject *)before : Py_NewRef(Py_None);
}

PyObject *view_module_current(PyObject *module, PyObject *ignored) {
    (void)module;
    (void)ignored;
    return Py_NewRef(current_view ? (PyObject *)current_view : Py_None);
}

PyObject *view_module_owner(PyObject *module, PyObject *name) {
    (void)module;
    PyObject *base = PyImport_GetModuleDict(); /* borrowed */
    snake_view *view = current_view, *owner = view, *holder;
    PyObject *found = find(view, base, name, &holder);
    if (!found && PyErr_Occurred())
        return NULL;
    if (found) {
        /* An inner view may have an alias: the outermost that has it owns it. */
        owner = base_get(base, name) == found ? NULL : holder;
        for (snake_view *v = owner ? owner->outer : NULL; v; v = v->outer)
            if (PyDict_GetItemWithError(v->modules, name) == found)
                owner = v;
        Py_DECREF(found);
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(owner ? (PyObject *)owner : Py_None);
}
