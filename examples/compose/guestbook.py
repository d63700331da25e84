"""A guestbook, whose file is in the folder that DATA names."""

import os
import sqlite3
from pathlib import Path

from flask import Flask, request

app = Flask(__name__)
file = Path(os.environ.get("DATA", "."), "guestbook.sqlite3")


def execute(statement, *values):
    database = sqlite3.connect(file)
    try:
        with database:
            return database.execute(statement, values).fetchall()
    finally:
        database.close()


execute("CREATE TABLE IF NOT EXISTS entry (name TEXT NOT NULL)")


@app.get("/")
def read():
    return [name for (name,) in execute("SELECT name FROM entry ORDER BY rowid")]


@app.post("/")
def sign():
    execute("INSERT INTO entry (name) VALUES (?)", request.form["name"])
    return read(), 201


@app.get("/health")
def health():
    execute("SELECT 1 FROM entry")
    return "", 204
