#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

core *fuzz_state;
snake_generation *fuzz_app;

static const char sources[] =
    "bootstrap\0"
    "import _caddysnake\n"
    "class View(_caddysnake.View): pass\n"
    "class Loop:\n"
    "    def create_future(self): raise RuntimeError\n"
    "    def call_soon(self, *args, **options): pass\n"
    "    call_later = call_soon\n"
    "_caddysnake.set_hooks(*[lambda *args: False] * 7)\n"
    "app = _caddysnake.fuzzed = _caddysnake.Generation(View(1, None))\n"
    "scope = {'asgi': {}, 'extensions': {'a': {}}}\n"
    "app.serve_asgi(print, scope, scope, ({'a': {}},) * 4, {}, Loop(), print, {})\n";

void fuzz_fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    abort();
}

void fuzz_check(PyObject *result) {
    if (!result != !!PyErr_Occurred())
        fuzz_fail("an exception and a result, or neither");
    PyErr_Clear();
    Py_XDECREF(result);
}

snake_slot *fuzz_slot(void) {
    static unsigned char *rings[2];
    if (!segment_first() && !snake_segment_add())
        fuzz_fail("no memory");
    snake_slot *slot = slot_at(0);
    for (int i = 0; i < 2; i++) { /* of exactly a ring's size, for the sanitizer */
        free(rings[i]);
        if (!(rings[i] = calloc(1, SNAKE_RING)))
            fuzz_fail("no memory");
    }
    slot->in.data = rings[0];
    slot->out.data = rings[1];
    memset(slot->wire, 0, sizeof *slot->wire);
    slot_open(slot, fuzz_app);
    segment_first()->up = 0; /* no Go takes the list */
    return slot;
}

void fuzz_head(snake_slot *slot, const void *data, size_t size) {
    static char *head;
    free(head);
    head = malloc(size ? size : 1);
    if (!head)
        fuzz_fail("no memory");
    memcpy(head, data, size);
    slot->head = (span){head, (Py_ssize_t)size};
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    static const char *const names[] = {"Host", "Cookie", "Accept"};
    snake_options options = {names, 3, sources, sizeof sources};
    char error[512] = "";
    setenv("PYTHONMALLOC", "malloc", 1); /* each object is the sanitizer's */
    if (snake_start(&options, error, sizeof error) < 0)
        fuzz_fail(error);
    PyGILState_Ensure(); /* for ever */
    PyObject *module = PyImport_ImportModule("_caddysnake");
    PyObject *app = module ? PyObject_GetAttrString(module, "fuzzed") : NULL;
    if (!app)
        fuzz_fail("no app");
    fuzz_state = PyModule_GetState(module);
    fuzz_app = (snake_generation *)app;
    return 0;
}
