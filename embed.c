//go:build !pyext

/* The linked executable owns its interpreter. This file alone needs more than the stable ABI:
 * PyConfig. */
#define _GNU_SOURCE 1 /* as in Python.h */
#if !__has_include(<Python.h>)
#error "No Python headers: apt-get install python3-dev (Fedora: dnf install python3-devel)"
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "caddysnake.h"
#include "embed.h"

int snake_adopt(void);
int snake_own_interpreter(char *err, size_t err_cap);

typedef struct start {
    sem_t done;
    int rc;
    char *err;
    size_t err_cap;
} start;

enum { MAX_UP = 3 }; /* from the library to <prefix> */

/* sys.executable must be a python that belongs to this library: multiprocessing starts it, and
 * Python derives prefix and site-packages from it. Python's own search would take the first python3
 * on PATH. The library is in <prefix>/lib or, on Debian, <prefix>/lib/<triplet>. */
static int find_executable(char *path, size_t cap) {
    Dl_info info;
    char dir[PATH_MAX];
    if (!dladdr((void *)(uintptr_t)Py_InitializeFromConfig, &info) ||
        !realpath(info.dli_fname, dir))
        return -1;
    for (int up = 0; up < MAX_UP; up++) {
        char *slash = strrchr(dir, '/');
        if (!slash)
            return -1;
        *slash = '\0';
        int n = snprintf(path, cap, "%s/bin/python%d.%d", dir, PY_MAJOR_VERSION, PY_MINOR_VERSION);
        if (n > 0 && (size_t)n < cap && !access(path, X_OK))
            return 0;
    }
    return -1;
}

/* The same for a virtual environment, from which Python finds the rest by pyvenv.cfg. Returns -1 if
 * the directory is none: the bridge says so later. */
static int find_in_venv(const char *venv, char *path, size_t cap) {
    int n = snprintf(path, cap, "%s/pyvenv.cfg", venv);
    if (n < 0 || (size_t)n >= cap || access(path, R_OK))
        return -1;
    n = snprintf(path, cap, "%s/bin/python", venv); /* as caddysnake_py/layers.py has it */
    if (n > 0 && (size_t)n < cap && access(path, X_OK))
        n = snprintf(path, cap, "%s/bin/python%d.%d", venv, PY_MAJOR_VERSION, PY_MINOR_VERSION);
    return n > 0 && (size_t)n < cap ? 0 : -1;
}

static bool failed(PyStatus status, char *err, size_t err_cap) {
    if (!PyStatus_Exception(status))
        return false;
    snprintf(err, err_cap, "%s: %s", status.func ? status.func : "Python",
             status.err_msg ? status.err_msg : "could not start");
    return true;
}

int embed_initialize(const char *venv, bool own_signals, char *err, size_t err_cap) {
    char executable[PATH_MAX];
    bool found = (venv && find_in_venv(venv, executable, sizeof executable) == 0) ||
                 find_executable(executable, sizeof executable) == 0;
    if (found)
        unsetenv("PYTHONHOME"); /* it is another Python's home; children must not see it either */
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = own_signals;
    config.parse_argv = 0;
    int rc = -1;
    if (found &&
        failed(PyConfig_SetBytesString(&config, &config.executable, executable), err, err_cap))
        goto out;
    if (!failed(Py_InitializeFromConfig(&config), err, err_cap))
        rc = 0;
out:
    PyConfig_Clear(&config);
    return rc;
}

static void error_text(start *s) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *text = value ? PyObject_Str(value) : NULL;
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    snprintf(s->err, s->err_cap, "starting the Python bridge: %s: %s",
             type ? ((PyTypeObject *)type)->tp_name : "error", utf8 ? utf8 : "?");
    PyErr_Restore(type, value, traceback);
    PyErr_Print();
    Py_XDECREF(text);
}

/* Python's main thread. It never runs app code. */
static void *main_thread(void *arg) {
    start *s = arg;
    s->rc = embed_initialize(NULL, false, s->err, s->err_cap); /* signals are Caddy's */
    if (s->rc == 0) {
        s->rc = snake_adopt();
        if (s->rc < 0)
            error_text(s);
        PyEval_SaveThread();
    }
    sem_post(&s->done); /* s is gone from here on */
    for (;;)
        pause();
    return NULL;
}

int snake_own_interpreter(char *err, size_t err_cap) {
    start s = {.rc = -1, .err = err, .err_cap = err_cap};
    pthread_t thread;
    pthread_attr_t attributes;
    if (sem_init(&s.done, 0, 0) || pthread_attr_init(&attributes)) {
        snprintf(err, err_cap, "not enough memory");
        return -1;
    }
    pthread_attr_setstacksize(&attributes, 8 << 20);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, main_thread, &s)) {
        snprintf(err, err_cap, "cannot create a thread");
    } else {
        pthread_setname_np(thread, "python-main");
        while (sem_wait(&s.done))
            ;
    }
    pthread_attr_destroy(&attributes);
    sem_destroy(&s.done);
    return s.rc;
}
