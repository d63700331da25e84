/* Key objects for C code that reads the dict of sys.modules directly.
 *
 * Some extension modules call PyDict_GetItem on sys.modules, which ignores the subclass and would
 * find the base's module. For each name of a module that some view owns, a key of type Name is
 * planted in the base. The key has the hash of the name, so the dict compares it with the name
 * being looked up. The key reports equality if the current view has such a module, and first stores
 * the module as the value that the dict is about to read. */
#include "view.h"

static __thread bool in_base; /* true: planted names compare unequal */
PyObject *base_get(PyObject *base, PyObject *name) {
    bool before = in_base; /* a name with its own __eq__ can call this function again */
    in_base = true;
    PyObject *found = PyDict_GetItemWithError(base, name);
    in_base = before;
    return found;
}

/* Stores a module as the answer of a planted name. This may free the previous answer and run code;
 * that must happen only after in_base is restored. */
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

static PyObject *name_compare(PyObject *self, PyObject *other, int op) {
    PyObject *base = PyImport_GetModuleDict(); /* borrowed */
    if (!in_base)
        view_refresh(base);
    if (in_base || op != Py_EQ || !current_view || !PyUnicode_CheckExact(other))
        return PyBool_FromLong(op == Py_NE);
    int order = PyUnicode_Compare(self, other);
    if (order)
        return order == -1 && PyErr_Occurred() ? NULL : Py_NewRef(Py_False);
    PyObject *module = view_lookup(base, other);
    if (!module)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_False);
    /* Code that ran while the old answer was freed may have let another thread store its answer. */
    int rc = 0;
    while (rc == 0 && base_get(base, self) != module)
        rc = base_answer(base, self, module);
    Py_DECREF(module); /* not the last reference: the dict holds one */
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
PyType_Spec name_spec = {
    .name = "_caddysnake.Name",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = name_slots,
};

int plant_name(PyObject *base, PyObject *name) {
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
    PyObject *base = PyImport_GetModuleDict(), *keys = hidden_list(0), *key, *value; /* borrowed */
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
