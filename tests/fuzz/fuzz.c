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
    static snake_slot *slot;
    if (!slot && !(slot = snake_slot_new(0)))
        fuzz_fail("no memory");
    slot->app = fuzz_app;
    slot->to_py = slot->gone = slot->out_state = slot->body_state = 0;
    slot->header_count = slot->features = slot->body_kind = 0;
    slot->body_offset = slot->body_len = 0;
    slot->chunk_end = SNAKE_MORE;
    slot_out_reset(slot);
    return slot;
}

void fuzz_fill(unsigned char **buffer, size_t *cap, size_t *len, const void *data, size_t size) {
    free(*buffer);
    *buffer = malloc(size ? size : 1);
    if (!*buffer)
        fuzz_fail("no memory");
    memcpy(*buffer, data, size);
    *cap = *len = size;
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
