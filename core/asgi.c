/* The loop's side of an ASGI app: its queue, and the handling of queued events. */
#include "asgi.h"

enum { ROUND = 256 };

/* ---- waking the loop (any thread, no GIL) */

static void wake_loop(snake_generation *app) {
    if (!__atomic_load_n(app->armed, __ATOMIC_SEQ_CST) ||
        !__atomic_exchange_n(app->armed, 0, __ATOMIC_SEQ_CST))
        return;
    asgi_gate_enter(app);
}

void asgi_push(snake_slot *slot) {
    snake_generation *app =
        slot->app; /* read first: the loop may release the slot before this function returns */
    queue_push(&app->queue, slot);
    wake_loop(app);
}

void asgi_post(snake_slot *slot, uint32_t event) {
    if (!__atomic_fetch_or(&slot->wire->to_py, event, __ATOMIC_ACQ_REL))
        asgi_push(slot);
}

/* ---- rounds of the loop */

static PyObject *new_task(snake_generation *app, PyObject *args) {
    if (!app->new_task)
        return PyErr_Format(PyExc_RuntimeError, "the app has been unloaded");
    PyObject *create = Py_NewRef(app->new_task), *options = Py_XNewRef(app->new_task_options);
    PyObject *task = PyObject_Call(create, args, options);
    Py_XDECREF(options);
    Py_DECREF(create);
    return task;
}

static void start_request(snake_generation *app, snake_slot *slot) {
    if (slot_is_lost(slot)) {
        slot_release(slot);
        generation_finished_one(app);
        return;
    }
    const asgi_protocol *protocol =
        slot->features & SNAKE_WEBSOCKET ? &asgi_websocket_protocol : &asgi_http_protocol;
    asgi_exchange *self = asgi_exchange_new(app, slot, protocol);
    if (!self) {
        report_exception(app->st, app->id, "ASGI", NULL, false);
        slot_close(slot, SNAKE_FAIL);
        generation_finished_one(app);
        return;
    }
    slot_begin(slot);
    slot->owner = self;
    self->client_stopped_sending = slot_gone(slot) != 0;
    asgi_exchange_activate(self);
    if (slot_is_lost(slot)) /* the event may have arrived before owner was set */
        self->protocol->on_gone(self);
    PyObject *args = PyTuple_Pack(1, (PyObject *)self);
    PyObject *task = args ? new_task(app, args) : NULL;
    if (!task) {
        asgi_exchange_fail_start(self);
    } else if (!self->ended) {
        self->task = Py_NewRef(task);
    }
    Py_XDECREF(task);
    Py_XDECREF(args);
    Py_DECREF((PyObject *)self);
}

static void cancel(asgi_exchange *self) {
    if (asgi_exchange_cancel(self) < 0)
        report_exception(self->st, self->app->id, "cancelling a request", NULL, false);
}

static void handle_events(snake_generation *app, snake_slot *slot) {
    uint32_t events = __atomic_fetch_and(&slot->wire->to_py, SNAKE_TO_PY_CLOSED, __ATOMIC_ACQ_REL);
    if (events & SNAKE_TO_PY_CLOSED) {
        completions_add(slot, SNAKE_GO_RELEASED);
        return;
    }
    if (events & SNAKE_TO_PY_NEW) {
        start_request(app, slot); /* the slot may already belong to Go again */
        return;
    }
    if (!slot->owner) /* start_request is running below this call; it checks gone itself */
        return;
    asgi_exchange *self = (asgi_exchange *)Py_NewRef((PyObject *)slot->owner);
    if (self->slot == slot && events & SNAKE_TO_PY_ROOM)
        asgi_output_resume(self);
    if (self->slot == slot && events & SNAKE_TO_PY_IN)
        asgi_await_wake(self, AWAIT_RECEIVE);
    if (self->slot == slot && events & SNAKE_TO_PY_IDLE)
        slot_trim(slot);
    if (self->slot == slot && events & SNAKE_TO_PY_GONE)
        self->protocol->on_gone(self);
    else if (self->kept == slot && events & SNAKE_TO_PY_GONE && slot_gone(slot) == SNAKE_OVERDUE)
        cancel(self);
    asgi_exchange_settle(self);
    Py_DECREF((PyObject *)self);
}

void asgi_start_round(snake_generation *app) {
    app->draining = true;
    app->round_began = now_us();
    for (int n = 0;;) {
        snake_slot *slot;
        while (n < ROUND && (slot = queue_pop(&app->queue))) {
            handle_events(app, slot);
            n++;
            if (!queue_is_empty(&app->queue))
                completions_announce_later();
        }
        if (n >= ROUND) { /* let timers and sockets run, then continue */
            asgi_gate_enter(app);
            break;
        }
        __atomic_store_n(app->armed, 1, __ATOMIC_SEQ_CST);
        asgi_answer_probe(app); /* one during the round did not wake the loop */
        if (queue_is_empty(&app->queue) || !__atomic_exchange_n(app->armed, 0, __ATOMIC_SEQ_CST))
            break;
        completions_announce();
    }
    app->draining = false;
    if (app->selects)
        completions_announce_later(); /* announced at the next select() at the latest */
    /* Flush runs after the first steps of the tasks just started, unless those are eager. */
    else if (!app->active || !asgi_flush_soon(app))
        asgi_end_round(app);
    else
        asgi_announce_round();
}

PyObject *asgi_select(snake_generation *app, PyObject *timeout, int files) {
    asgi_loop_sleep sleep;
    bool failed, may_sleep = asgi_loop_may_sleep(app, timeout, files, &sleep, &failed);
    if (failed)
        return NULL;
    if (may_sleep) {
        uint64_t woken;
        Py_BEGIN_ALLOW_THREADS;
        asgi_end_round(app); /* here the next app's loop can take the GIL */
        asgi_loop_sleep_now(app, &sleep);
        woken = lock_wait_begins();
        Py_END_ALLOW_THREADS;
        lock_wait_ends(woken);
    } else {
        asgi_go_on(app);
    }
    return asgi_loop_awake(&sleep);
}

/* Go has the whole response, so no client waits for the rest of the app's code. */
static bool is_answered(const asgi_exchange *e) {
    return e->protocol == &asgi_http_protocol && e->complete && !e->slot && !e->client_left;
}

PyObject *asgi_answered(snake_generation *app) {
    PyObject *scopes = PyList_New(0);
    for (asgi_exchange *e = app->active; scopes && e; e = e->next)
        if (e->scope && is_answered(e) && PyList_Append(scopes, e->scope) < 0)
            Py_CLEAR(scopes);
    return scopes;
}

PyObject *asgi_coroutines(snake_generation *app) {
    PyObject *list = PyList_New(0);
    for (asgi_exchange *e = app->active; list && e; e = e->next) {
        snake_slot *slot = e->slot ? e->slot : e->kept;
        if (!e->coroutine)
            continue;
        PyObject *entry = Py_BuildValue("lIOk", slot ? (long)slot->id : -1L,
                                        slot ? slot->wire->serial : 0, e->coroutine, app->thread);
        if (!entry || PyList_Append(list, entry) < 0)
            Py_CLEAR(list);
        Py_XDECREF(entry);
    }
    return list;
}

int asgi_cancel(snake_generation *app, bool answered) {
    PyObject *exchanges = hidden_list(0); /* a copy: cancelling may change the active list */
    if (!exchanges)
        return -1;
    int rc = 0;
    for (asgi_exchange *e = app->active; e && !rc; e = e->next)
        rc = answered || !is_answered(e) ? PyList_Append(exchanges, (PyObject *)e) : 0;
    for (Py_ssize_t i = 0; i < PyList_Size(exchanges) && !rc; i++) {
        asgi_exchange *e = (asgi_exchange *)Py_NewRef(PyList_GetItem(exchanges, i));
        cancel(e); /* one failure must not stop the others */
        Py_DECREF((PyObject *)e);
    }
    Py_DECREF(exchanges);
    return rc;
}

void asgi_answer_probe(snake_generation *app) {
    uint64_t since = __atomic_load_n(&app->probed_at, __ATOMIC_SEQ_CST);
    if (!since)
        return;
    __atomic_store_n(&app->lag, now_us() - since, __ATOMIC_RELAXED);
    __atomic_store_n(&app->probed_at, 0, __ATOMIC_RELAXED);
}

/* Asks the loop for a sign of life, unless an earlier probe is unanswered. Returns the age of the
 * unanswered probe in microseconds. */
uint64_t asgi_probe(snake_generation *app) {
    uint64_t now = now_us(), since = __atomic_load_n(&app->probed_at, __ATOMIC_RELAXED);
    if (since)
        return now > since ? now - since : 0;
    /* Either wake_loop sees that the loop is armed, or the loop sees the probe once it is. */
    __atomic_store_n(&app->probed_at, now, __ATOMIC_SEQ_CST);
    wake_loop(app);
    return 0;
}
