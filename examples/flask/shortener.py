"""A link shortener: a form, a table in SQLite, and redirects."""

import sqlite3
from pathlib import Path

from flask import Flask, abort, g, redirect, render_template, request, url_for

SCHEMA = """
CREATE TABLE IF NOT EXISTS link (
    id INTEGER PRIMARY KEY,
    url TEXT NOT NULL,
    clicks INTEGER NOT NULL DEFAULT 0
)
"""


def create_app():
    app = Flask(__name__)
    folder = Path(app.instance_path)
    folder.mkdir(exist_ok=True)

    def connect():
        return sqlite3.connect(folder / "links.sqlite3")

    with connect() as database:
        database.execute(SCHEMA)
    database.close()

    @app.before_request
    def open_database():
        g.database = connect()
        g.database.row_factory = sqlite3.Row

    @app.teardown_request
    def close_database(error):
        if "database" in g:
            g.database.close()

    def all_links():
        rows = g.database.execute("SELECT * FROM link ORDER BY id DESC")
        # The host and the scheme are those of the request, as Caddy got it.
        return [
            {
                "short": url_for("follow", number=row["id"], _external=True),
                "url": row["url"],
                "clicks": row["clicks"],
            }
            for row in rows
        ]

    @app.get("/")
    def index():
        return render_template("index.html", links=all_links())

    @app.get("/links")
    def links():
        return all_links()

    @app.post("/")
    def shorten():
        url = request.form["url"]
        if not url.startswith(("http://", "https://")):
            abort(400, "That is no address of a web page.")
        with g.database:
            g.database.execute("INSERT INTO link (url) VALUES (?)", [url])
        return redirect(url_for("index"), 303)

    @app.get("/<int:number>")
    def follow(number):
        with g.database:
            row = g.database.execute(
                "UPDATE link SET clicks = clicks + 1 WHERE id = ? RETURNING url", [number]
            ).fetchone()
        return redirect(row["url"]) if row else abort(404)

    return app
