/* bin/python3 of the archive: the interpreter of the libpython that Caddy uses, too. */
#include <Python.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    unsetenv("PYTHONHOME"); /* another Python's, as in embed.c: our standard library is our own */
    return Py_BytesMain(argc, argv);
}
