"""Reading a stream: which payloads make it up, and how a reader says that it is there. Pure."""

from __future__ import annotations

import msgspec

from resident.protocol import Answered, check_head, decode_reply

#: How long a worker takes a reader for there after it last said so, in ms.
READING_MS = 15_000
#: How often a reader says so, in seconds.
RENEW_S = 5.0


class _Part(msgspec.Struct):
    v: int
    id: str
    ok: bool | msgspec.UnsetType = msgspec.UNSET
    seq: int = -1
    delta: str | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Part).decode


class StreamReader:
    """Reads the payloads of one stream in their order.

    Attributes:
        answered: The reply, once it has come.
    """

    def __init__(self, job_id: str) -> None:
        self.answered: Answered | None = None
        self._id = job_id
        self._deltas: list[str] = []

    @property
    def text(self) -> str:
        """What came so far."""
        return "".join(self._deltas)

    def read(self, payload: bytes) -> str:
        """The delta in a payload, or what the reply's answer has beyond the deltas before it.

        That is nothing, unless a worker answered that does not stream, such as RQ's own.

        Raises:
            ResidentError: The error that the reply carries; what came before stays in `text`.
            ValueError: This is not what comes next of this stream, in a version that we read.
        """
        try:
            part = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            msg = f"no part of a stream: {error}"
            raise ValueError(msg) from None
        delta = self._delta_of(part) if part.ok is msgspec.UNSET else self._rest_of(payload)
        if delta:
            self._deltas.append(delta)
        return delta

    def _delta_of(self, part: _Part) -> str:
        check_head(part.v, part.id, self._id)
        if part.seq != len(self._deltas):
            msg = f"part {part.seq} of a stream where part {len(self._deltas)} comes next"
            raise ValueError(msg)
        if not part.delta:  # not there, or nothing in it
            msg = "a part of a stream without its delta"
            raise ValueError(msg)
        return part.delta

    def _rest_of(self, payload: bytes) -> str:
        answered, text = decode_reply(payload, self._id), self.text
        is_text = isinstance(answered.answer, str) and answered.answer.startswith(text)
        if text and not is_text:
            msg = "an answer that does not begin with its deltas"
            raise ValueError(msg)
        self.answered = answered
        return str(answered.answer)[len(text) :] if is_text else ""
