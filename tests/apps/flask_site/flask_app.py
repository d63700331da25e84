"""A Flask app: JSON, a form with a session, an upload, a template, a stream, errors."""

import hashlib
import time
from pathlib import Path

from flask import (
    Flask,
    abort,
    jsonify,
    redirect,
    render_template,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)

app = Flask(__name__)
app.secret_key = "only a test"


@app.get("/")
def index():
    return render_template("index.html", name=request.args.get("name", "world"))


@app.post("/echo")
def echo():
    return jsonify(request.get_json())


@app.post("/login")
def login():
    session["user"] = request.form["user"]
    return redirect(url_for("me"))


@app.get("/me")
def me():
    return jsonify(user=session.get("user"), url=url_for("me", _external=True))


@app.post("/upload")
def upload():
    data = request.files["file"].read()
    return jsonify(name=request.files["file"].filename, sha256=hashlib.sha256(data).hexdigest())


@app.get("/stream")
def stream():
    go = Path(request.args["go"])

    @stream_with_context
    def pieces():
        yield "first "
        while not go.exists():
            time.sleep(0.005)
        yield request.args["last"]

    return pieces()


@app.get("/source")
def source():
    return send_file(__file__, conditional=True)


@app.get("/teapot")
def teapot():
    abort(418)


@app.get("/boom")
def boom():
    raise ValueError("planted: in a view")


@app.get("/log")
def log():
    app.logger.warning("a warning from flask")
    return ""
