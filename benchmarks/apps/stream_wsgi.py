"""A WSGI response in three blocks of unknown total length."""


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"Hello"
    yield b", "
    yield b"World!"
