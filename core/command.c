/* Go's commands to the bridge (load, unload, exit): JSON in both directions, over the same slots as
 * requests. One Python thread receives the commands and runs each on a thread of its own. */
#include "core.h"
#include <limits.h>
#include <string.h>

typedef struct command_object {
    PyObject_HEAD
    snake_slot *slot; /* NULL once answered */
} command_object;

static queue commands;
static uint32_t waiting; /* [atomic] futex: 1 while the bridge sleeps */

void command_push(snake_slot *slot) {
    queue_push(&commands, slot);
    if (__atomic_exchange_n(&waiting, 0, __ATOMIC_SEQ_CST))
        futex_wake(&waiting, 1);
}

/* next_command() -> Command: blocks until Go sends a command. Only one thread calls it. */
PyObject *command_next(PyObject *module, PyObject *ignored) {
    (void)ignored;
    core *st = PyModule_GetState(module);
    snake_slot *slot;
    while (!(slot = queue_pop(&commands))) {
        Py_BEGIN_ALLOW_THREADS;
        __atomic_store_n(&waiting, 1, __ATOMIC_SEQ_CST);
        if (queue_is_empty(&commands))
            futex_wait(&waiting, 1, 0);
        __atomic_store_n(&waiting, 0, __ATOMIC_SEQ_CST);
        Py_END_ALLOW_THREADS;
    }
    command_object *self = PyObject_New(command_object, st->command_type);
    if (!self) {
        slot_close(slot, SNAKE_OUT_FAIL);
        completions_announce();
        return NULL;
    }
    self->slot = slot;
    return (PyObject *)self;
}

static PyObject *command_payload(PyObject *object, void *unused) {
    (void)unused;
    snake_slot *slot = ((command_object *)object)->slot;
    if (!slot) {
        PyErr_SetString(PyExc_RuntimeError, "the command has been answered");
        return NULL;
    }
    if (!slot_in_fits(slot)) {
        PyErr_SetString(PyExc_SystemError, "a command does not fit into its buffer");
        return NULL;
    }
    return PyBytes_FromStringAndSize((const char *)slot->in, (Py_ssize_t)slot->in_len);
}

/* reply(answer: bytes) */
static PyObject *command_reply(PyObject *object, PyObject *answer) {
    command_object *self = (command_object *)object;
    char *data;
    Py_ssize_t len;
    if (PyBytes_AsStringAndSize(answer, &data, &len) < 0)
        return NULL;
    if (!self->slot) {
        PyErr_SetString(PyExc_RuntimeError, "the command has been answered");
        return NULL;
    }
    unsigned char *room = slot_out_room(self->slot, (size_t)len);
    if (!room)
        return NULL;
    memcpy(room, data, (size_t)len);
    slot_close(self->slot, SNAKE_OUT_END);
    self->slot = NULL;
    completions_announce();
    Py_RETURN_NONE;
}

static void command_dealloc(PyObject *object) {
    command_object *self = (command_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->slot) { /* Go must not wait for an answer that was lost */
        slot_close(self->slot, SNAKE_OUT_FAIL);
        completions_announce();
    }
    PyObject_Free(object);
    Py_DECREF(type);
}

static PyMethodDef command_methods[] = {
    {"reply", command_reply, METH_O, "reply(answer: bytes): answers Go, once."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef command_getset[] = {
    {"payload", command_payload, NULL, "The question, as bytes of JSON.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot command_slots[] = {
    {Py_tp_doc, "A question from Go."},
    {Py_tp_methods, command_methods},
    {Py_tp_getset, command_getset},
    {Py_tp_dealloc, command_dealloc},
    {0, NULL},
};
PyType_Spec command_spec = {
    .name = "_caddysnake.Command",
    .basicsize = sizeof(command_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = command_slots,
};
