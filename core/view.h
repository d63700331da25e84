/* What the files of a view share: the view itself, and how a module is found. */
#ifndef SNAKE_VIEW_H
#define SNAKE_VIEW_H

#include "core.h"

/* Python subclasses add what concerns only them. */
struct snake_view {
    PyObject_HEAD
    PyObject *modules;        /* dict: name -> module; the type Modules stands for "deleted here" */
    struct snake_view *outer; /* where to look next; NULL: the base */
    PyObject *claims;         /* set of top-level names that are never looked up further out */
    PyObject *loading;        /* set of names whose modules are not complete yet */
    PyObject *path;      /* sys.path under this view; a list, as long as nobody assigns nonsense */
    PyObject *path_seen; /* tuple: what was in path when the claims were made */
    uint32_t app;        /* id of the app, 0 for a layer */
};

/* ---- view.c */
/* 1: what holder (NULL: the base) has under that name can be seen from self; -1 with an exception.
 */
int view_sees(snake_view *self, snake_view *holder, PyObject *name);
/* The module that self (NULL: the base) sees. New reference; NULL without an exception when there
 * is none. The view that has it goes to *holder. */
PyObject *view_find(snake_view *self, PyObject *base, PyObject *name, snake_view **holder);
/* The same for the current view. */
PyObject *view_lookup(PyObject *base, PyObject *name);

/* ---- view_current.c: whose code a thread runs */
/* Whether it is known whose the thread is: one that Python has started. */
extern __thread bool view_is_known;
/* The view that was found the last time; current_view has the reference. */
extern __thread snake_view *view_adopted;
/* Finds out whose the thread is; with the module's state, or NULL. */
void view_ask(core *st);
/* To be called before current_view or current_app is read for Python. base is sys.modules. */
static inline void view_refresh(PyObject *base) {
    if (!view_is_known && current_view == view_adopted)
        view_ask(PyType_GetModuleState(Py_TYPE(base)));
}
static inline void view_refresh_by(PyObject *module) {
    if (!view_is_known && current_view == view_adopted)
        view_ask(PyModule_GetState(module));
}

/* ---- view_names.c */
/* What the base itself has. Borrowed; NULL perhaps with an exception. */
PyObject *base_get(PyObject *base, PyObject *name);
/* Plants a name once. -1 with an exception. */
int plant_name(PyObject *base, PyObject *name);
extern PyType_Spec name_spec;

#endif
