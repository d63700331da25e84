/* The start of a worker process, for the linked executable and for the wheel's module. */
#ifndef WORKER_START_H
#define WORKER_START_H

#include "core/worker.h"

/* Returns why the descriptor is not a control socket made by the parent process, or NULL. */
const char *worker_control_problem(int fd);

/* Receives what snake_work needs, and gives the process a group and a name of its own. Returns -1
 * if the worker can go on, else the exit code of the process: Caddy is gone, or standard error says
 * why. */
int worker_prepare(int control, snake_options *options);

#endif
