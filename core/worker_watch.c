/* Ends a worker whose Caddy is gone. The kernel closes Caddy's end of the control socket however
 * Caddy has ended. A thread in C looks, for Python may be stuck with the GIL held. */
#include "worker.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int watched;        /* the control socket */
static unsigned int grace; /* seconds for Python's own end */

static void *watch_peer(void *unused) {
    (void)unused;
    struct pollfd peer = {.fd = watched, .events = POLLRDHUP};
    int ready;
    do
        ready = poll(&peer, 1, -1);
    while (ready < 0 && errno == EINTR);
    sleep(grace);
    _exit(EXIT_FAILURE);
}

/* Starts a thread that ends the process some seconds after the peer of fd has closed it. */
PyObject *worker_watch_caddy(PyObject *module, PyObject *args) {
    (void)module;
    pthread_t thread;
    if (!PyArg_ParseTuple(args, "iI:watch_caddy", &watched, &grace))
        return NULL;
    sigset_t all, before; /* signals are for Python's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, NULL, watch_peer, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    pthread_detach(thread);
    Py_RETURN_NONE;
}
