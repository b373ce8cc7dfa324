"""What becomes of a request that is still there when the web server ends."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resident.errors import ErrorCode, ResidentError, TransportError, error_for


class Ending:
    """Answers it, if nothing was answered yet; else the server would log its whole stack."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, in the words of ASGI."""
        has_begun = False

        async def note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            if not has_begun:
                error = error_for(ErrorCode.CANCELLED, "The HTTP API is being stopped")
                await refusal(error)(scope, receive, send)


def refusal(error: ResidentError) -> Response:
    """The response that tells a caller of it."""
    return PlainTextResponse(
        quote(words_for_callers(error)),
        status_code=error.code.http_status,
        headers={"X-Resident-Error": error.code.value},
    )


def words_for_callers(error: ResidentError) -> str:
    """Its message without what Redis itself said: that has Redis' address in it."""
    if not isinstance(error, TransportError):
        return error.message
    return error.message.partition(" (")[0].partition(": ")[0]
