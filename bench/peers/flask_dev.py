"""The seed: a Flask app with a global model, on Flask's own development server.

With BENCH_GUNICORN=1 the same app on gunicorn with one synchronous worker.
Source: Flask's documentation, 'Quickstart' and 'Deploying to production: gunicorn'.
"""

from __future__ import annotations

import logging
import os
import sys
from urllib.parse import urlsplit

from flask import Flask, request

from bench.http import echo_links as links

__all__ = ["links"]

ADDRESS = urlsplit(os.environ["BENCH_URL"])
app = Flask(__name__)


def load() -> dict[str, str]:
    """In the seed this takes seconds."""
    return {}


model = load()


@app.get("/deal")
def deal() -> str:
    """The answer to `?question=`."""
    question = request.args["question"]
    return model.get(question, question)


def serve() -> None:
    """`flask run`, or `gunicorn bench.peers.flask_dev:app`."""
    if os.environ.get("BENCH_GUNICORN"):
        command = [sys.executable, "-m", "gunicorn", "--bind", ADDRESS.netloc]
        os.execv(sys.executable, [*command, "--log-level", "error", "bench.peers.flask_dev:app"])
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.run(ADDRESS.hostname, ADDRESS.port)
