/* sys.modules: a subclass of dict that answers for the current view. self is the base: the dict
 * that Python created. */
#include "view.h"

static PyObject *modules_subscript(PyObject *self, PyObject *name) {
    PyObject *module = view_lookup(self, name);
    if (!module && !PyErr_Occurred())
        PyErr_SetObject(PyExc_KeyError, name);
    return module;
}

static int modules_delete(PyObject *self, PyObject *name) {
    view_refresh(self);
    snake_view *view = current_view, *holder = NULL;
    if (!view)
        return PyDict_DelItem(self, name);
    PyObject *module = view_find(view, self, name, &holder);
    if (!module) {
        if (!PyErr_Occurred())
            PyErr_SetObject(PyExc_KeyError, name);
        return -1;
    }
    Py_DECREF(module);
    /* A shared module stays in its layer and only disappears from this view. */
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
    view_refresh(self);
    if (!current_view)
        return PyDict_SetItem(self, name, module);
    return plant_name(self, name) < 0 ? -1 : PyDict_SetItem(current_view->modules, name, module);
}

static int modules_contains(PyObject *self, PyObject *name) {
    PyObject *module = view_lookup(self, name);
    Py_XDECREF(module);
    return module ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* Adds to seen the modules of holder (NULL: the base) that self sees. Reads the base with
 * PyDict_Next, because any other access would call this type again. */
static int add_visible(PyObject *seen, PyObject *base, snake_view *self, snake_view *holder) {
    core *st = PyType_GetModuleState(Py_TYPE(base));
    PyObject *names = hidden_list(0), *modules = holder ? holder->modules : base;
    PyObject *name, *module;
    Py_ssize_t position = 0;
    int rc = names ? 0 : -1;
    while (rc == 0 && PyDict_Next(modules, &position, &name, &module))
        if (Py_TYPE(name) != st->name_type)
            rc = PyList_Append(names, name);
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_Size(names); i++) {
        name = PyList_GetItem(names, i);
        int visible = PyDict_Contains(seen, name) ? 0 : view_sees(self, holder, name);
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

/* The modules that the current view sees, as a new dict. */
static PyObject *visible_modules(PyObject *self) {
    PyObject *seen = PyDict_New();
    view_refresh(self);
    snake_view *view = current_view;
    Py_XINCREF(view); /* claims may run Python code */
    int rc = seen ? 0 : -1;
    for (snake_view *v = view; v && rc == 0; v = v->outer)
        rc = add_visible(seen, self, view, v);
    if (rc == 0)
        rc = add_visible(seen, self, view, NULL);
    Py_XDECREF(view);
    PyObject *name, *module, *deleted = hidden_list(0);
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
    PyObject *module = view_lookup(self, name);
    return module || PyErr_Occurred() ? module : Py_NewRef(fallback);
}

static PyObject *modules_pop(PyObject *self, PyObject *args) {
    PyObject *name, *fallback = NULL;
    if (!PyArg_UnpackTuple(args, "pop", 1, 2, &name, &fallback))
        return NULL;
    PyObject *module = view_lookup(self, name);
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
    PyObject *module = view_lookup(self, name);
    if (module || PyErr_Occurred())
        return module;
    return modules_ass_subscript(self, name, fallback) < 0 ? NULL : Py_NewRef(fallback);
}

/* Stores only modules that the view does not see already: writing back a copy, as
 * unittest.mock.patch.dict does, must not make shared modules this view's own. */
static int store_all(PyObject *self, PyObject *news) {
    PyObject *name, *module;
    Py_ssize_t position = 0;
    int rc = 0;
    while (rc == 0 && PyDict_Next(news, &position, &name, &module)) {
        Py_INCREF(name); /* a lookup runs code, which may have found the dict and empty it */
        Py_INCREF(module);
        PyObject *before = view_lookup(self, name);
        Py_XDECREF(before);
        if (PyErr_Occurred() || (before != module && modules_ass_subscript(self, name, module) < 0))
            rc = -1;
        Py_DECREF(module);
        Py_DECREF(name);
    }
    return rc;
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
    view_refresh(self);
    PyDict_Clear(current_view ? current_view->modules : self);
    Py_RETURN_NONE;
}

static PyObject *modules_popitem(PyObject *self, PyObject *ignored) {
    (void)ignored;
    view_refresh(self);
    return PyObject_CallMethod((PyObject *)&PyDict_Type, "popitem", "O",
                               current_view ? current_view->modules : self);
}

/* type(sys.modules)() returns a plain dict, and so does copy.copy(sys.modules), which calls it.
 * Only one object knows views. */
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
/* Same size as dict, so that an existing dict's type can be replaced. */
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
    Py_SET_TYPE(modules, type); /* the dict takes over the reference to type */
    Py_RETURN_NONE;
}
