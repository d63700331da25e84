/* threading.local for many apps: each app sees only its own values on a thread.
 *
 * An object holds one of Python's own _thread._local objects per app. That object handles threads
 * and their ends, and stores the dict of attributes. Python's object covers one app on all threads;
 * ours covers all apps (docs/decisions/0052). */
#include "core.h"
#include <stddef.h>
#include <structmember.h>

typedef struct app_local {
    PyObject_HEAD
    PyObject *dict; /* borrowed, NULL between calls: the dict for the generic attribute functions */
    PyObject *weak_references;
    PyObject *by_app;        /* {app id: _thread._local}; NULL when the object was cleared */
    PyObject *args, *kwargs; /* arguments of __init__, which runs once per thread */
    struct app_local *previous, *next; /* links of all_locals; guarded by the GIL */
} app_local;

static app_local *all_locals;
static core *local_core; /* a subclass does not give access to the module state */

/* The _thread._local of the current app. New reference. */
static PyObject *of_app(app_local *self) {
    PyObject *key = self->by_app ? PyLong_FromUnsignedLong(current_app) : NULL;
    if (!key)
        return self->by_app ? NULL : PyErr_Format(PyExc_ReferenceError, "the local is gone");
    PyObject *found = PyDict_GetItemWithError(self->by_app, key);
    if (found) {
        Py_INCREF(found);
    } else if (!PyErr_Occurred()) {
        found = PyObject_CallNoArgs(local_core->thread_local);
        if (found && (!self->by_app || PyDict_SetItem(self->by_app, key, found) < 0))
            Py_CLEAR(found);
    }
    Py_DECREF(key);
    return found;
}

static int call_init(app_local *self) {
    initproc init = (initproc)PyType_GetSlot(Py_TYPE((PyObject *)self), Py_tp_init);
    if (init == (initproc)PyType_GetSlot(&PyBaseObject_Type, Py_tp_init))
        return 0;
    return init((PyObject *)self, self->args, self->kwargs);
}

/* The attributes for the current app and thread. New reference. */
static PyObject *attributes(app_local *self, bool is_new) {
    PyObject *own = of_app(self);
    PyObject *dict = own ? PyObject_GetAttr(own, local_core->s_dict) : NULL;
    if (own && !dict && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        dict = PyDict_New();
        if (dict && PyObject_SetAttr(own, local_core->s_dict, dict) < 0)
            Py_CLEAR(dict);
        if (dict && !is_new && call_init(self) < 0) {
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            Py_CLEAR(dict);
            if (PyObject_SetAttr(own, local_core->s_dict, NULL) <
                0) /* reset, so that the next access retries */
                PyErr_Clear();
            PyErr_Restore(type, value, traceback);
        }
    }
    Py_XDECREF(own);
    return dict;
}

static PyObject *local_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    bool has_arguments = PyTuple_Size(args) > 0 || (kwargs && PyDict_Size(kwargs) > 0);
    if (has_arguments &&
        PyType_GetSlot(type, Py_tp_init) == PyType_GetSlot(&PyBaseObject_Type, Py_tp_init)) {
        PyErr_SetString(PyExc_TypeError, "Initialization arguments are not supported");
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    app_local *self = (app_local *)alloc(type, 0);
    if (!self)
        return NULL;
    self->args = Py_NewRef(args);
    self->kwargs = Py_XNewRef(kwargs);
    self->next = all_locals;
    if (all_locals)
        all_locals->previous = self;
    all_locals = self;
    self->by_app = PyDict_New();
    PyObject *dict = self->by_app ? attributes(self, true) : NULL;
    if (!dict)
        Py_CLEAR(self);
    Py_XDECREF(dict);
    return (PyObject *)self;
}

/* A name of a str subclass could run code in the middle of a lookup. New reference. */
static PyObject *exact_name(PyObject *name) {
    return PyUnicode_CheckExact(name) ? Py_NewRef(name) : PyUnicode_FromObject(name);
}

static bool is_dict_name(PyObject *name) {
    return name == local_core->s___dict__ || !PyUnicode_CompareWithASCIIString(name, "__dict__");
}

static PyObject *local_getattr(PyObject *object, PyObject *name) {
    app_local *self = (app_local *)object;
    PyObject *dict = attributes(self, false);
    PyObject *exact = dict ? exact_name(name) : NULL, *found = NULL;
    if (exact && is_dict_name(exact)) {
        found = Py_NewRef(dict);
    } else if (exact) {
        self->dict = dict;
        found = PyObject_GenericGetAttr(object, exact);
        self->dict = NULL;
    }
    Py_XDECREF(exact);
    Py_XDECREF(dict);
    return found;
}

static int local_setattr(PyObject *object, PyObject *name, PyObject *value) {
    app_local *self = (app_local *)object;
    PyObject *dict = attributes(self, false);
    PyObject *exact = dict ? exact_name(name) : NULL;
    int rc = -1;
    if (exact && is_dict_name(exact)) {
        PyErr_Format(PyExc_AttributeError, "%R object attribute '__dict__' is read-only",
                     (PyObject *)Py_TYPE(object));
    } else if (exact) {
        self->dict = dict;
        rc = PyObject_GenericSetAttr(object, exact, value);
        self->dict = NULL;
    }
    Py_XDECREF(exact);
    Py_XDECREF(dict);
    return rc;
}

/* ---- installation, and the end of an app */

int locals_install(core *state) {
    local_core = state;
    PyObject *low = PyImport_ImportModule("_thread"), *high = NULL;
    int rc = -1;
    local_core->thread_local = low ? PyObject_GetAttrString(low, "_local") : NULL;
    if (local_core->thread_local &&
        PyObject_SetAttrString(low, "_local", (PyObject *)local_core->local_type) == 0 &&
        (high = PyImport_ImportModule("threading")))
        rc = PyObject_SetAttrString(high, "local", (PyObject *)local_core->local_type);
    Py_XDECREF(low);
    Py_XDECREF(high);
    return rc;
}

/* take_locals(app): removes the app's values from all threads and returns them as a list */
PyObject *locals_take(PyObject *module, PyObject *app) {
    (void)module;
    if (!PyLong_Check(app))
        return PyErr_Format(PyExc_TypeError, "an app's id is needed, not %R", app);
    Py_ssize_t count = 0;
    for (app_local *each = all_locals; each; each = each->next)
        count++;
    PyObject *list = hidden_list(count); /* dropping an object runs its app's code */
    if (!list)
        return NULL;
    /* This loop allocates nothing, so no collection runs. An object being deallocated has no
     * references. */
    Py_ssize_t filled = 0, taken = 0;
    for (app_local *each = all_locals; each && filled < count; each = each->next)
        if (Py_REFCNT((PyObject *)each) > 0)
            PyList_SetItem(list, filled++, Py_NewRef((PyObject *)each));
    for (Py_ssize_t i = filled; i < count; i++)
        PyList_SetItem(list, i, Py_NewRef(Py_None));
    /* Reuses the list: each of the app's values replaces an object that was already visited. */
    for (Py_ssize_t i = 0; i < filled && !PyErr_Occurred(); i++) {
        PyObject *by_app = ((app_local *)PyList_GetItem(list, i))->by_app;
        PyObject *own = by_app ? PyDict_GetItemWithError(by_app, app) : NULL;
        Py_XINCREF(own);
        if (own && PyDict_DelItem(by_app, app) == 0)
            PyList_SetItem(list, taken++, Py_NewRef(own));
        Py_XDECREF(own);
    }
    if (PyErr_Occurred() || PyList_SetSlice(list, taken, count, NULL) < 0)
        Py_CLEAR(list);
    else
        PyObject_GC_Track(list);
    return list;
}

/* ---- the type */

static int local_traverse(PyObject *object, visitproc visit, void *arg) {
    app_local *self = (app_local *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->by_app);
    Py_VISIT(self->args);
    Py_VISIT(self->kwargs);
    return 0;
}

static int local_clear(PyObject *object) {
    app_local *self = (app_local *)object;
    Py_CLEAR(self->by_app);
    Py_CLEAR(self->args);
    Py_CLEAR(self->kwargs);
    return 0;
}

static void local_dealloc(PyObject *object) {
    app_local *self = (app_local *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->previous)
        self->previous->next = self->next;
    else
        all_locals = self->next;
    if (self->next)
        self->next->previous = self->previous;
    if (self->weak_references)
        PyObject_ClearWeakRefs(object);
    local_clear(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyMemberDef local_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(app_local, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(app_local, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot local_slots[] = {
    {Py_tp_doc, "Thread-local data"},
    {Py_tp_new, local_new},
    {Py_tp_getattro, local_getattr},
    {Py_tp_setattro, local_setattr},
    {Py_tp_members, local_members},
    {Py_tp_traverse, local_traverse},
    {Py_tp_clear, local_clear},
    {Py_tp_dealloc, local_dealloc},
    {0, NULL},
};
PyType_Spec local_spec = {
    .name = "_thread._local",
    .basicsize = sizeof(app_local),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = local_slots,
};
