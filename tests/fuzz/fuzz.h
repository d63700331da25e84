/* What the C fuzz targets share: a Python with the core in it. */
#ifndef SNAKE_FUZZ_H
#define SNAKE_FUZZ_H

#include "../../core/asgi.h"

/* Of the one app that there is; its environ and scopes are empty but for what scope_new needs. */
extern core *fuzz_state;
extern snake_generation *fuzz_app;

/* Ends the process, for the fuzzer to report. */
void fuzz_fail(const char *what);
/* A result comes without an exception, and none with one. The exception is cleared, the result
 * given back. */
void fuzz_check(PyObject *result);
/* A slot that is used again, with nothing of the last run. */
snake_slot *fuzz_slot(void);
/* Makes data the slot's packed head, in memory of exactly this size, so that the sanitizer sees
 * each byte beyond it. */
void fuzz_head(snake_slot *slot, const void *data, size_t size);

#endif
