//go:build !pyext

/* A worker process of the linked executable. A constructor, which runs before Go's runtime, looks
 * whether Caddy has started this process as a worker. Such a process never enters Go.
 *
 * The environment names the control socket. secure_getenv: a program with more rights than its
 * caller must not run the caller's code. */
#define _GNU_SOURCE 1 /* as in Python.h */
#include "embed.h"
#include "worker_start.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define CONTROL_VARIABLE "CADDYSNAKE_WORKER"   /* the descriptor's number */
#define VENV_VARIABLE "CADDYSNAKE_WORKER_VENV" /* the virtual environment, if there is one */

/* Returns the descriptor's number, or -1. */
static int parse_descriptor(const char *text) {
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    return errno || end == text || *end || number < 0 || number > INT_MAX ? -1 : (int)number;
}

/* Runs the worker; returns its exit code. */
static int work(int control, const char *venv) {
    char error[1024];
    snake_options options;
    int code = worker_prepare(control, &options);
    if (code >= 0)
        return code;
    if (embed_initialize(venv, true, error, sizeof error)) {
        fprintf(stderr, "python worker: starting Python: %s\n", error);
        return EX_SOFTWARE;
    }
    return snake_work(&options, control);
}

__attribute__((constructor)) static void start_worker(void) {
    const char *number = secure_getenv(CONTROL_VARIABLE);
    if (!number)
        return;
    int control = parse_descriptor(number);
    const char *problem = control < 0 ? "not a number" : worker_control_problem(control);
    if (problem) {
        fprintf(stderr, CONTROL_VARIABLE "=%s: %s; only Caddy sets this variable\n", number,
                problem);
        _exit(EX_USAGE);
    }
    const char *named = getenv(VENV_VARIABLE);
    char *venv = named && *named ? strdup(named) : NULL; /* kept until the process ends */
    unsetenv(CONTROL_VARIABLE);                          /* a child of the worker is none */
    unsetenv(VENV_VARIABLE);
    exit(work(control, venv));
}
