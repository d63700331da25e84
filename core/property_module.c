/* The base class of the classes of sys, logging and others that have properties.
 *
 * Since 3.14 the interpreter specialises `module.attribute`: after some runs of a line it reads the
 * module's dict directly and ignores the class's properties. It does so for every class with
 * ModuleType's tp_getattro. This class has its own tp_getattro, which does the same. */
#include "core.h"

static PyObject *property_module_getattro(PyObject *self, PyObject *name) {
    getattrofunc generic = (getattrofunc)PyType_GetSlot(&PyModule_Type, Py_tp_getattro);
    return generic(self, name);
}

static PyType_Slot property_module_slots[] = {
    {Py_tp_doc, "A module whose subclasses may have properties."},
    {Py_tp_getattro, property_module_getattro},
    {0, NULL},
};
/* Same size as a module, so that an existing module's class can be replaced. */
static PyType_Spec property_module_spec = {
    .name = "_caddysnake.PropertyModule",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = property_module_slots,
};

int property_module_add_type(PyObject *module) {
    PyObject *bases = PyTuple_Pack(1, &PyModule_Type);
    PyObject *type = bases ? PyType_FromModuleAndSpec(module, &property_module_spec, bases) : NULL;
    int rc = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    Py_XDECREF(bases);
    return rc;
}
