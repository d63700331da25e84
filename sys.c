/* The class that the class of sys is derived from.
 *
 * Since 3.14 the interpreter specialises `module.attribute`: after some runs of the same line it
 * reads the module's dict itself, without asking the class for a property. It does so for every
 * class that has the tp_getattro of ModuleType. This one has another, which does the same. */
#include "core.h"

static PyObject *sys_getattro(PyObject *self, PyObject *name) {
    getattrofunc generic = (getattrofunc)PyType_GetSlot(&PyModule_Type, Py_tp_getattro);
    return generic(self, name);
}

static PyType_Slot sys_slots[] = {
    {Py_tp_doc, "A module whose subclasses may have properties."},
    {Py_tp_getattro, sys_getattro},
    {0, NULL},
};
/* The size is that of a module, so that an existing module can become one. */
static PyType_Spec sys_spec = {
    .name = "_caddysnake.SysModule",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = sys_slots,
};

int sys_add_type(PyObject *module) {
    PyObject *bases = PyTuple_Pack(1, &PyModule_Type);
    PyObject *type = bases ? PyType_FromModuleAndSpec(module, &sys_spec, bases) : NULL;
    int rc = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    Py_XDECREF(bases);
    return rc;
}
