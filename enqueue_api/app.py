"""The HTTP API: the old page's URL in front of the queue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio
import msgspec
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.telemetry import TelemetryConfig

from enqueue_api.async_client import AsyncClient
from enqueue_api.bearer import KeyHolders
from enqueue_api.ending import Ending, refusal, words_for_callers
from enqueue_api.form import BODY_S, HUNG_UP, question_in
from enqueue_api.schemas import Health
from enqueue_api.trouble import Trouble
from resident.errors import ErrorCode, ResidentError, error_for
from resident.protocol import Answered
from resident.settings import Settings

#: A span would hold the URL, and so the question.
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def make_app(settings: Settings, client: AsyncClient | None = None) -> FastAPI:
    """The application; with a client of one's own, tests can ask where they like."""
    client = client or AsyncClient(settings.redis_url.get_secret_value(), settings)
    counter = _Counter(settings, client)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(counter.health())  # and a Redis that is away is told of
        yield
        looking.cancel()
        await client.close()

    app = FastAPI(
        title="Resident",
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.add_middleware(Ending)

    @app.exception_handler(ResidentError)
    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ResidentError)  # noqa: S101  (what it is registered for)
        return refusal(error)

    @app.api_route(
        "/deal",
        methods=["GET", "POST"],
        response_class=PlainTextResponse,
        dependencies=[Depends(KeyHolders(settings.http_keys))],
    )
    async def deal(request: Request) -> Response:
        """The answer to `question`, percent-encoded as the old page's callers expect it.

        What is no text is JSON.
        """
        return PlainTextResponse(quote(_text_of(await counter.answer_to(request))))

    @app.get("/healthz")
    async def healthz() -> Response:
        """200 if Redis answers and some task has a ready worker, else 503."""
        health = await counter.health()
        return JSONResponse(health.model_dump(), status_code=200 if health.ok else 503)

    return app


def longest_s(settings: Settings) -> int:
    """How long a request may take that has begun: its body, its budget, and a second."""
    return math.ceil(BODY_S + settings.budget_ms / 1000 + 1)


class _Counter:
    """Where callers are let in, and asked for."""

    def __init__(self, settings: Settings, client: AsyncClient) -> None:
        self._settings = settings
        self._client = client
        # Beyond the limit a caller is refused at once: a place in a queue of ours would only eat
        # its budget.
        self._in_flight = anyio.CapacityLimiter(settings.http_concurrency)
        self._trouble = Trouble()

    async def answer_to(self, request: Request) -> Any:
        """The answer to the question in it; raises ResidentError."""
        self._check_that_there_is_room()  # before a body is read, which costs the others time, too
        question = await question_in(request, self._settings.max_question_bytes)
        self._check_that_there_is_room()
        async with self._in_flight:
            with self._trouble.watching(is_question=True):
                asking = self._client.ask(self._settings.http_task, question)
                return (await _while_there(request, asking)).answer

    async def health(self) -> Health:
        """Whether Redis answers, and who serves."""
        try:
            with self._trouble.watching(is_question=False):
                tasks = await self._client.tasks()
        except ResidentError as error:
            return Health(ok=False, tasks=[], reason=words_for_callers(error))
        return Health(ok=bool(tasks), tasks=tasks, reason="" if tasks else "no worker")

    def _check_that_there_is_room(self) -> None:
        if self._in_flight.available_tokens < 1:
            msg = f"{self._settings.http_concurrency} questions are in flight already"
            raise error_for(ErrorCode.OVERLOADED, msg)


async def _while_there(request: Request, asking: Coroutine[Any, Any, Answered]) -> Answered:
    """The reply; raises ResidentError (cancelled) as soon as the caller hangs up."""
    asked, left = asyncio.ensure_future(asking), asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((asked, left), return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise error_for(ErrorCode.CANCELLED, HUNG_UP)
        return asked.result()
    finally:
        asked.cancel()  # which takes the question back
        left.cancel()
        await asyncio.gather(asked, left, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _text_of(answer: Any) -> str:
    """A text as it is, anything else as JSON."""
    return answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
