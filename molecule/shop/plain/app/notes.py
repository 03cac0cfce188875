"""Counts notes in PostgreSQL for whoever has the token: POST / adds one, GET / tells how many there are."""

import http.server
import os

import psycopg


def ask(query: str) -> int:
    with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=5) as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


class Notes(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer("SELECT count(*) FROM notes")

    def do_POST(self) -> None:
        self.answer("WITH note AS (INSERT INTO notes VALUES (now()) RETURNING 1) SELECT count(*) FROM note")

    def answer(self, query: str) -> None:
        allowed = self.headers["Authorization"] == os.environ["API_TOKEN"]
        count = ask(query) if allowed else 0
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(f"{count}\n".encode())


with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=5) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS notes (made timestamptz)")
http.server.ThreadingHTTPServer(("", 8000), Notes).serve_forever()
