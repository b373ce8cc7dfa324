"""The HTTP API: the old page's URL in front of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, quote

import anyio
import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect

from enqueue_api.async_client import AsyncClient
from enqueue_api.schemas import Health
from resident.errors import ErrorCode, ResidentError, error_for, invalid_question
from resident.protocol import Answered
from resident.settings import Settings

#: A body is the question, percent-encoded: at most three bytes for one, and the field's name.
_ENCODED = 3
_FIELD = 64
_HUNG_UP = "The caller hung up"


def make_app(settings: Settings, client: AsyncClient | None = None) -> FastAPI:
    """The application; with a client of one's own, tests can ask where they like."""
    client = client or AsyncClient(settings.redis_url.get_secret_value(), settings)
    # Beyond the limit a caller is refused at once: a place in a queue of ours would only eat its
    # budget.
    in_flight = anyio.CapacityLimiter(settings.http_concurrency)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await client.close()

    app = FastAPI(title="Resident", lifespan=lifespan, openapi_url=None, redirect_slashes=False)

    @app.exception_handler(ResidentError)
    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ResidentError)  # noqa: S101  (what it is registered for)
        return PlainTextResponse(
            quote(error.message),
            status_code=error.code.http_status,
            headers={"X-Resident-Error": error.code.value},
        )

    @app.api_route("/deal", methods=["GET", "POST"], response_class=PlainTextResponse)
    async def deal(request: Request) -> Response:
        """The answer to `question`, percent-encoded as the old page's callers expect it.

        What is no text is JSON.
        """
        question = await _question_in(request, settings.max_question_bytes)
        if in_flight.available_tokens < 1:
            msg = f"{settings.http_concurrency} questions are in flight already"
            raise error_for(ErrorCode.OVERLOADED, msg)
        async with in_flight:
            reply = await _while_there(request, client.ask(settings.http_task, question))
        return PlainTextResponse(quote(_text_of(reply.answer)))

    @app.get("/healthz")
    async def healthz() -> Response:
        """200 if Redis answers and some task has a ready worker, else 503."""
        try:
            tasks = await client.tasks()
            health = Health(ok=bool(tasks), tasks=tasks, reason="" if tasks else "no worker")
        except ResidentError as error:
            health = Health(ok=False, tasks=[], reason=error.message)
        return JSONResponse(health.model_dump(), status_code=200 if health.ok else 503)

    return app


async def _while_there(request: Request, asking: Coroutine[Any, Any, Answered]) -> Answered:
    """The reply; raises ResidentError (cancelled) as soon as the caller hangs up."""
    asked, left = asyncio.ensure_future(asking), asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((asked, left), return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise error_for(ErrorCode.CANCELLED, _HUNG_UP)
        return asked.result()
    finally:
        asked.cancel()  # which takes the question back
        left.cancel()
        await asyncio.gather(asked, left, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _question_in(request: Request, max_bytes: int) -> str:
    """The field `question` of the query, or of a form in the body."""
    question = _question_of(request.scope["query_string"])
    if question is None and request.method == "POST":
        question = _question_of(await _body_of(request, max_bytes * _ENCODED + _FIELD))
    if question is None:
        msg = "There is no question; ask /deal?question=... or POST question=... as a form"
        raise invalid_question(msg)
    return question


def _question_of(form: bytes) -> str | None:
    """The field `question` of a percent-encoded form, which a query is too."""
    text = form.decode("ascii", "surrogateescape")  # other fields may hold what they like
    questions = parse_qs(text, keep_blank_values=True, errors="surrogateescape").get("question")
    if not questions:
        return None
    try:
        questions[0].encode()
    except UnicodeEncodeError:
        msg = "The question is not percent-encoded UTF-8"
        raise invalid_question(msg) from None
    return questions[0]


async def _body_of(request: Request, max_bytes: int) -> bytes:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                msg = f"The request's body is longer than {max_bytes} bytes"
                raise invalid_question(msg)
    except ClientDisconnect:
        raise error_for(ErrorCode.CANCELLED, _HUNG_UP) from None
    return body


def _text_of(answer: Any) -> str:
    """A text as it is, anything else as JSON."""
    return answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
