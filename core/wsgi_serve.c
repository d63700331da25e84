/* The body of a WSGI thread: takes requests from the pool and runs them. */
#include "wsgi_pool.h"
#include <sys/prctl.h>

/* Maximum number of responses announced to Go together. */
enum { POOL_BATCH = 16 };

/* Runs a request. False: the thread's state is not clean, and no other request may run on it. */
static bool run_request(core *st, wsgi_thread *w, snake_generation *app, snake_slot *slot) {
    wsgi_thread_begin(w, slot);
    bool ok = wsgi_thread_enter(st, w, app->id);
    if (ok) {
        wsgi_run(st, w->cache, app, slot);
        view_enter(app->view, app->id); /* dropped objects may run app code */
        ok = wsgi_thread_leave(st, w);
        view_leave();
    } else {
        report_exception(st, app->id, "WSGI", NULL, false);
        slot_close(slot, SNAKE_FAIL);
    }
    wsgi_thread_end(st, w);
    return ok;
}

/* wsgi_serve(): the body of a WSGI thread; the bridge starts it as a threading.Thread. */
PyObject *wsgi_serve(PyObject *module, PyObject *ignored) {
    (void)ignored;
    core *st = PyModule_GetState(module);
    wsgi_thread *w = wsgi_thread_new(st);
    wsgi_pool_enter(w);
    wsgi_pool_end_start(w != NULL);
    if (!w)
        return NULL;
    prctl(PR_SET_NAME, "wsgi");
    snake_generation *finished = NULL;
    int listed = 0; /* responses not announced yet */
    for (;;) {
        snake_slot *slot = wsgi_pool_next_request(w, finished);
        if (slot) {
            finished = slot->app;
            bool stay = run_request(st, w, finished, slot);
            if (!stay || ++listed >= POOL_BATCH || !wsgi_pool_has_work()) {
                completions_announce();
                listed = 0;
            } else {
                completions_announce_later();
            }
            if (stay)
                continue;
            wsgi_pool_leave(w, finished);
            break;
        }
        finished = NULL;
        if (listed) {
            completions_announce();
            listed = 0;
        }
        bool stay;
        uint64_t woken;
        Py_BEGIN_ALLOW_THREADS;
        stay = wsgi_pool_wait_for_role(w);
        woken = lock_wait_begins();
        Py_END_ALLOW_THREADS;
        lock_wait_ends(woken);
        if (!stay)
            break;
    }
    wsgi_pool_enter(NULL);
    wsgi_thread_free(st, w);
    Py_RETURN_NONE;
}
