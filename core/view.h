/* Shared by the view files: the view itself, and the lookup of modules. */
#ifndef SNAKE_VIEW_H
#define SNAKE_VIEW_H

#include "core.h"

/* Python subclasses add their own attributes. */
struct snake_view {
    PyObject_HEAD
    PyObject *modules;        /* dict: name -> module; the type Modules stands for "deleted here" */
    struct snake_view *outer; /* the view to search next; NULL: the base */
    PyObject *claims;         /* set of top-level names that are never looked up in outer views */
    PyObject *loading;        /* set of names of modules that are still loading */
    PyObject *path;      /* sys.path under this view; a list unless an app assigns something else */
    PyObject *path_seen; /* tuple: the contents of path when the claims were made */
    uint32_t app;        /* id of the app, 0 for a layer */
};

/* ---- view.c */
/* 1: self can see the module that holder (NULL: the base) has under that name; -1 with an
 * exception. */
int view_sees(snake_view *self, snake_view *holder, PyObject *name);
/* The module that self (NULL: the base) sees: a new reference, or NULL without an exception if
 * none. *holder is set to the view that holds it. */
PyObject *view_find(snake_view *self, PyObject *base, PyObject *name, snake_view **holder);
/* The same for the current view. */
PyObject *view_lookup(PyObject *base, PyObject *name);

/* ---- view_current.c: the owner of the code that a thread runs */
/* Whether the thread's owner is known, as it is for threads that Python started. */
extern __thread bool view_is_known;
/* The view that the last search found; current_view holds the reference. */
extern __thread snake_view *view_adopted;
/* Finds the thread's owner. st is the module's state, or NULL. */
void view_ask(core *st);
/* Call before reading current_view or current_app for Python. base is sys.modules. */
static inline void view_refresh(PyObject *base) {
    if (!view_is_known && current_view == view_adopted)
        view_ask(PyType_GetModuleState(Py_TYPE(base)));
}
static inline void view_refresh_by(PyObject *module) {
    if (!view_is_known && current_view == view_adopted)
        view_ask(PyModule_GetState(module));
}

/* ---- view_names.c */
/* The base's own module. Borrowed; NULL with or without an exception. */
PyObject *base_get(PyObject *base, PyObject *name);
/* Plants a name once. -1 with an exception. */
int plant_name(PyObject *base, PyObject *name);
extern PyType_Spec name_spec;

#endif
