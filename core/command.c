/* Go's commands to the bridge (load, unload, exit): JSON in both directions. One Python thread
 * receives the commands and runs each on a thread of its own. */
#include "core.h"
#include <stdlib.h>
#include <string.h>

typedef struct command {
    struct command *next;
    uint32_t id;
    size_t len;
    char json[];
} command;

typedef struct command_object {
    PyObject_HEAD
    command *question; /* NULL once answered */
} command_object;

static command *incoming; /* [atomic] newest first */
static command *oldest;   /* taken off incoming; only command_next touches it */
static uint32_t waiting;  /* [atomic] futex: 1 while the bridge sleeps */
static message_list answers = {.fd = -1};

int commands_init(void) { return message_list_init(&answers); }

snake_list snake_answers(void) { return (snake_list){&answers.newest, &answers.rung, answers.fd}; }

int snake_command(uint32_t id, const char *json, size_t len) {
    command *question = malloc(sizeof *question + len);
    if (!question)
        return -1;
    question->id = id;
    question->len = len;
    memcpy(question->json, json, len);
    command *head = __atomic_load_n(&incoming, __ATOMIC_RELAXED);
    do
        question->next = head;
    while (!__atomic_compare_exchange_n(&incoming, &head, question, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
    if (__atomic_exchange_n(&waiting, 0, __ATOMIC_SEQ_CST))
        futex_wake(&waiting, 1);
    return 0;
}

static command *pop(void) {
    if (!oldest) {
        command *next, *list = __atomic_exchange_n(&incoming, NULL, __ATOMIC_ACQUIRE);
        for (; list; list = next) {
            next = list->next;
            list->next = oldest;
            oldest = list;
        }
    }
    command *first = oldest;
    if (first)
        oldest = first->next;
    return first;
}

/* Answers a command and frees it. lost: without the bridge's answer. -1 when memory is out; the
 * command is then still unanswered. */
static int answer(command *question, bool lost, const char *json, size_t len) {
    snake_message *message = calloc(1, sizeof *message + len);
    if (!message)
        return -1;
    message->level = lost;
    message->id = question->id;
    message->len = len;
    memcpy(message->data, json, len);
    message_list_add(&answers, message);
    free(question);
    return 0;
}

/* next_command() -> Command: blocks until Go sends a command. Only one thread calls it. */
PyObject *command_next(PyObject *module, PyObject *ignored) {
    (void)ignored;
    core *st = PyModule_GetState(module);
    command *question;
    while (!(question = pop())) {
        Py_BEGIN_ALLOW_THREADS;
        __atomic_store_n(&waiting, 1, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&incoming, __ATOMIC_SEQ_CST))
            futex_wait(&waiting, 1, 0);
        __atomic_store_n(&waiting, 0, __ATOMIC_SEQ_CST);
        Py_END_ALLOW_THREADS;
    }
    command_object *self = PyObject_New(command_object, st->command_type);
    if (!self)
        answer(question, true, "", 0);
    else
        self->question = question;
    return (PyObject *)self;
}

static PyObject *already_answered(void) {
    PyErr_SetString(PyExc_RuntimeError, "the command has been answered");
    return NULL;
}

static PyObject *command_payload(PyObject *object, void *unused) {
    (void)unused;
    command *question = ((command_object *)object)->question;
    return question ? PyBytes_FromStringAndSize(question->json, (Py_ssize_t)question->len)
                    : already_answered();
}

/* reply(answer: bytes) */
static PyObject *command_reply(PyObject *object, PyObject *reply) {
    command_object *self = (command_object *)object;
    char *data;
    Py_ssize_t len;
    if (PyBytes_AsStringAndSize(reply, &data, &len) < 0)
        return NULL;
    if (!self->question)
        return already_answered();
    if (answer(self->question, false, data, (size_t)len) < 0)
        return PyErr_NoMemory();
    self->question = NULL;
    Py_RETURN_NONE;
}

static void command_dealloc(PyObject *object) {
    command_object *self = (command_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->question) /* Go must not wait for an answer that was lost */
        answer(self->question, true, "", 0);
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
