"""Takes or sends as many bytes as the client likes: GET /<bytes>, POST."""

PART = bytes(64 << 10)


def app(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"]
        count = 0
        while part := body.read(len(PART)):
            count += len(part)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(count).encode()]
    count = int(environ["PATH_INFO"][1:] or 0)
    start_response("200 OK", [("Content-Length", str(count))])
    return (PART for _ in range(count // len(PART)))
