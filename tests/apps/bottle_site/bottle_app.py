"""A Bottle app: routes, a form, cookies, an upload, files, a template, a mounted app, errors."""

import hashlib
from pathlib import Path

from bottle import (
    Bottle,
    HTTPError,
    abort,
    redirect,
    request,
    response,
    static_file,
    template,
)

HERE = Path(__file__).resolve().parent
SECRET = "only a test"

app = Bottle()


@app.get("/")
def index():
    name = request.query.getunicode("name", "world")
    return template("index", name=name, template_lookup=[str(HERE / "views")])


@app.get("/number/<number:int>")
def number(number):
    return {"double": number * 2}


@app.post("/echo")
def echo():
    return request.json


@app.post("/login")
def login():
    response.set_cookie("user", request.forms.getunicode("user"), secret=SECRET)
    redirect("/me")


@app.get("/me")
def me():
    return {"user": request.get_cookie("user", secret=SECRET), "url": request.url}


@app.post("/upload")
def upload():
    data = request.files["file"].file.read()
    return {"name": request.files["file"].filename, "sha256": hashlib.sha256(data).hexdigest()}


@app.get("/files/<name:path>")
def files(name):
    return static_file(name, root=HERE / "files")


@app.get("/stream")
def stream():
    for count in range(100):
        yield f"{count}\n"


@app.get("/teapot")
def teapot():
    abort(418, "short and stout")


@app.get("/boom")
def boom():
    raise ValueError("planted: in a route")


@app.error(404)
def lost(error: HTTPError):
    return "no such page"


part = Bottle()


@part.get("/where")
def where():
    return {"script": request.script_name, "path": request.path, "url": request.url}


app.mount("/part", part)
