"""Notes of one tenant. Nothing here knows that there are others: each has its own environment."""

import os
import sqlite3
from pathlib import Path

from flask import Flask, abort, request, url_for

app = Flask(__name__)
folder = Path(app.instance_path)
folder.mkdir(exist_ok=True)
file = folder / f"{os.environ['TENANT']}.sqlite3"


def execute(statement, *values):
    database = sqlite3.connect(file)
    try:
        with database:
            return database.execute(statement, values).fetchall()
    finally:
        database.close()


execute("CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")


@app.get("/")
def index():
    rows = execute("SELECT id FROM note ORDER BY id")
    # Links have the tenant's prefix, since Caddy says which one it has removed.
    return {
        "title": os.environ["TITLE"],
        "notes": [url_for("note", number=number) for (number,) in rows],
    }


@app.post("/")
def add():
    ((number,),) = execute("INSERT INTO note (text) VALUES (?) RETURNING id", request.form["text"])
    return url_for("note", number=number) + "\n", 201


@app.get("/<int:number>")
def note(number):
    rows = execute("SELECT text FROM note WHERE id = ?", number)
    return rows[0][0] + "\n" if rows else abort(404)
