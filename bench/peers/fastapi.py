"""FastAPI on uvicorn, one worker.

Source: FastAPI's documentation, 'First steps' and 'Run a server manually'.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from bench.http import echo_links as links

__all__ = ["links"]

ADDRESS = urlsplit(os.environ["BENCH_URL"])
app = FastAPI()


@app.get("/deal", response_class=PlainTextResponse)
async def deal(question: str) -> str:
    """The question itself."""
    return question


def serve() -> None:
    """`uvicorn bench.peers.fastapi:app`."""
    assert ADDRESS.hostname
    assert ADDRESS.port
    uvicorn.run(app, host=ADDRESS.hostname, port=ADDRESS.port, log_level="warning")
