/* bin/python3 of the archive: an interpreter that shares Caddy's libpython. */
#include <Python.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    unsetenv("PYTHONHOME"); /* it names another Python's standard library, as in embed.c */
    return Py_BytesMain(argc, argv);
}
