/* What a WSGI thread does: it takes requests from the pool and runs them. */
#include "wsgi_pool.h"
#include <sys/prctl.h>

/* So many responses are announced to Go at once, at most. */
enum { POOL_BATCH = 16 };

/* Runs a request. False: it has left the thread in a state in which no other may find it. */
static bool run_request(core *st, worker *w, snake_app *app, snake_slot *slot) {
    worker_begin(w, slot);
    bool ok = thread_enter(st, w, app->id);
    if (ok) {
        wsgi_run(st, w->cache, app, slot);
        view_enter(app->view, app->id); /* what is dropped may be the app's */
        ok = thread_leave(st, w);
        view_leave();
    } else {
        report_exception(st, app->id, "WSGI", NULL, false);
        slot_close(slot, SNAKE_OUT_FAIL);
    }
    worker_end(st, w);
    return ok;
}

/* wsgi_worker(): the body of a WSGI thread; the bridge starts it as a threading.Thread. */
PyObject *pool_worker(PyObject *module, PyObject *ignored) {
    (void)ignored;
    core *st = PyModule_GetState(module);
    worker *w = worker_new(st);
    pool_enter(w);
    pool_end_start(w != NULL);
    if (!w)
        return NULL;
    prctl(PR_SET_NAME, "wsgi");
    snake_app *finished = NULL;
    int listed = 0; /* answers that Go has not been told about */
    for (;;) {
        snake_slot *slot = pool_next_request(w, finished);
        if (slot) {
            finished = slot->app;
            bool stay = run_request(st, w, finished, slot);
            if (!stay || ++listed >= POOL_BATCH || !pool_has_work()) {
                ring_now();
                listed = 0;
            } else {
                ring_later();
            }
            if (stay)
                continue;
            pool_leave(w, finished);
            break;
        }
        finished = NULL;
        if (listed) {
            ring_now();
            listed = 0;
        }
        bool stay;
        Py_BEGIN_ALLOW_THREADS;
        stay = pool_wait_for_role(w);
        Py_END_ALLOW_THREADS;
        if (!stay)
            break;
    }
    pool_enter(NULL);
    worker_free(st, w);
    Py_RETURN_NONE;
}
