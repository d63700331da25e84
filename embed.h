/* Starts the interpreter of the linked executable, for Caddy's process and for workers. */
#ifndef EMBED_H
#define EMBED_H

#include <stdbool.h>
#include <stddef.h>

/* Initializes Python on the calling thread, which becomes its main thread and holds the GIL.
 * venv: a virtual environment whose python this is, or NULL. own_signals: Python installs its
 * handlers. Returns 0, or -1 with a message in err. */
int embed_initialize(const char *venv, bool own_signals, char *err, size_t err_cap);

#endif
