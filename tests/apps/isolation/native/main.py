"""Calls itself back on threads that C has made, as libraries for audio or messages do."""

import ctypes
import json
import logging
import os
import sys
import threading

import shared_calls

libc = ctypes.CDLL(None)
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
found = {}


def look(argument=None):
    import helper

    found["helper"] = helper.NAME
    found["environ"] = os.environ["NAME"]
    found["path"] = os.path.basename(sys.path[0])
    found["modules"] = found is sys.modules["main"].found and os.environ["NAME"]
    found["late"] = __import__("shared_late").call(os.environ.get, "NAME")
    print("printed by", os.environ["NAME"])
    logging.getLogger("native").warning("logged by %s", os.environ["NAME"])
    thread = threading.Thread(target=lambda: found.update(thread=os.environ["NAME"]))
    thread.start()
    thread.join()


CALLBACKS = {
    "own": CALLBACK(look),
    # The outermost function is a shared package's.
    "package": CALLBACK(shared_calls.calling(look)),
}


def app(environ, start_response):
    found.clear()
    thread = ctypes.c_ulong()
    callback = CALLBACKS[environ["QUERY_STRING"]]
    libc.pthread_create(ctypes.byref(thread), None, callback, None)
    libc.pthread_join(thread, None)
    start_response("200 OK", [])
    return [json.dumps(found).encode()]
