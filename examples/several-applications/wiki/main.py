"""A wiki on Flask: its module is called `main` as well, which is no conflict."""

from flask import Flask, redirect, render_template, request, url_for

app = Flask(__name__)
pages = {"start": "Every page can be edited."}


@app.get("/")
def start():
    return redirect(url_for("page", name="start"))


@app.get("/<name>")
def page(name):
    return render_template("page.html", name=name, text=pages.get(name, ""), names=sorted(pages))


@app.post("/<name>")
def edit(name):
    pages[name] = request.form["text"]
    return redirect(url_for("page", name=name), 303)
