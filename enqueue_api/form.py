"""The question in an HTTP request: a field of its URL, or of a form in its body."""

from __future__ import annotations

import asyncio
import re
from binascii import unhexlify

from fastapi import Request
from starlette.requests import ClientDisconnect

from resident.errors import ErrorCode, error_for, invalid_question

HUNG_UP = "The caller hung up"
#: A body must have come within so many seconds.
BODY_S = 10.0
#: More fields than a form has; each costs the others some of the API's time.
_MOST_FIELDS = 1_000
_NAME = b"question"
#: A body is the question, percent-encoded: at most three bytes for one, and the field's name.
_ENCODED = 3
_FIELD = 64
_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")


async def question_in(request: Request, max_bytes: int) -> str:
    """The field `question` of the query, or of a form in the body."""
    question = question_of(request.scope["query_string"])
    if question is None and request.method == "POST":
        question = question_of(await _body_of(request, max_bytes * _ENCODED + _FIELD))
    if question is None:
        msg = (
            "There is no question; ask /deal?question=... or POST question=... "
            "as application/x-www-form-urlencoded"
        )
        raise invalid_question(msg)
    return question


def question_of(form: bytes) -> str | None:
    """The first field `question` of a percent-encoded form, which a query is too.

    Other fields may hold what they like: they are not decoded.
    """
    fields = form.split(b"&", _MOST_FIELDS)
    if len(fields) > _MOST_FIELDS:
        msg = f"The request has more than {_MOST_FIELDS} fields"
        raise invalid_question(msg)
    for field in fields:
        name, _, value = field.partition(b"=")
        if len(name) <= len(_NAME) * _ENCODED and _decoded(name) == _NAME:
            return _text_of(value)
    return None


def _text_of(value: bytes) -> str:
    try:
        value.decode("ascii")
        return _decoded(value.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        msg = "The question is not percent-encoded UTF-8"
        raise invalid_question(msg) from None


def _decoded(text: bytes) -> bytes:
    """As `urllib.parse.unquote_to_bytes`, for which a long text in Chinese holds up all others."""
    return _ESCAPES.sub(lambda run: unhexlify(run[0].replace(b"%", b"")), text)


async def _body_of(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    msg = f"The request's body is longer than {max_bytes} bytes"
                    raise invalid_question(msg)
    except TimeoutError:
        msg = f"The request's body did not come within {BODY_S:.0f} s"
        raise invalid_question(msg) from None
    except ClientDisconnect:
        raise error_for(ErrorCode.CANCELLED, HUNG_UP) from None
    return bytes(body)
