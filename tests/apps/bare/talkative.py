"""A WSGI app that says things in all the ways Python code can."""

import logging
import sys
import threading
import warnings

from cases import Cases

case = Cases()

print("said while importing")


def app(environ, start_response):
    case[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"said"]


@case
def hello(environ):
    pass


@case
def prints(environ):
    print("printed \u20ac")
    print("first line\nsecond line")


@case
def prints_in_pieces(environ):
    print("one ", end="", flush=True)
    print("line", flush=True)


@case
def writes_to_stderr(environ):
    print("complained", file=sys.stderr)


@case
def writes_raw_bytes(environ):
    sys.stdout.buffer.write(b"raw \xff bytes\n")
    sys.stdout.flush()


@case
def writes_a_long_line(environ):
    print("long " + "x" * 1_000_000)


@case
def prints_from_a_thread(environ):
    thread = threading.Thread(target=print, args=("printed by a thread",))
    thread.start()
    thread.join()


@case
def writes_to_wsgi_errors(environ):
    errors = environ["wsgi.errors"]
    errors.write("first \u20ac\nsecond\n")
    errors.writelines(["third\n", "fourth\n"])
    errors.flush()


@case
def logs(environ):
    logger = logging.getLogger("shop.orders")
    logger.debug("at debug")
    logger.info("at %s", "info")
    logger.warning("at warning")
    logger.error("at error")
    logger.critical("at critical")


@case
def logs_too_much(environ):
    """18 MiB in characters of three bytes."""
    logging.getLogger("shop").info("€" * (6 << 20))


@case
def logs_an_exception(environ):
    try:
        raise ValueError("planted: caught")
    except ValueError:
        logging.getLogger("shop").exception("could not")


@case
def logs_a_bad_format(environ):
    logging.getLogger("shop").error("%d", "no number")


@case
def warns(environ):
    warnings.warn("planted warning", UserWarning, stacklevel=1)


@case
def raises_in_a_thread(environ):
    def fail():
        raise ValueError("planted: in a thread")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
