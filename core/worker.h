/* A worker process: the interpreter of one application, under Caddy's supervision. */
#ifndef CADDYSNAKE_WORKER_H
#define CADDYSNAKE_WORKER_H

#include "core.h"

/* Runs the bridge package as a worker or as a zygote. The caller has initialized Python on this
 * thread, the main one, and holds the GIL. control: the descriptor of the control socket. Returns
 * the process's exit code. options.sources must stay valid. */
int snake_work(const snake_options *options, int control);

PyObject *worker_attach(PyObject *module, PyObject *args);
/* watch_caddy(fd, seconds) */
PyObject *worker_watch_caddy(PyObject *module, PyObject *args);

#endif
