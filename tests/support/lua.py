"""A worker's and a caller's Lua operations, as their tests use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis

from resident import asking, keys, scripts
from resident.asking import Asked, Asking
from resident.claimed import Claim
from resident.link import Link
from resident.packed_claim import Limits
from resident.scripts import WorkerScripts
from resident.settlement import Ended, Outcome, SettleCode, Settlement

ECHO = keys.of_task("echo")
BUDGET_MS = 5_000
FAILURE_TTL_S = 86_400
#: So much later is the TTL of a job that runs than its deadline; see deadline.lua.
TEN_YEARS_MS = 315_360_000_000
DATA = b'["tasks.echo.answer",null,["?"],{}]'
#: How settle.lua finds out whose a job is.
JUDGED = {"by_hash": True}
LIMITS = Limits(lease_ms=15_000, reply_ttl_ms=60_000, max_data_bytes=1000, longest_batch_s=1)


class Desk:
    """One worker's scripts, and a caller's."""

    def __init__(self, connection: Redis, link: Link, name: str) -> None:
        self.connection = connection
        self.link = link
        self.name = name
        self.token = scripts.new_token()
        self.scripts = WorkerScripts(link, "echo", name, LIMITS, self.token)

    def announce(self, ttl_ms: int = 60_000, **description: Any) -> int:
        return self.scripts.announce(ttl_ms, {"max_backlog": 10, **description})

    def ask(
        self,
        job_id: str,
        budget_ms: int = BUDGET_MS,
        *,
        lane: str = "",
        is_new: bool = False,
        data: bytes = DATA,
        reply_to: str = "",
        is_streamed: bool = False,
        **fields: Any,
    ) -> Asked:
        """Asks it, and adds fields that ask.lua does not write."""
        question = Asking(
            "echo", job_id, budget_ms, data, FAILURE_TTL_S, is_new, lane, reply_to, is_streamed
        )
        asked = asking.ask(self.link, question)
        if fields:
            self.connection.hset(f"{keys.JOB}{job_id}", mapping=fields)
        return asked

    def claim(self, max_batch: int = 10, wait_s: float = 0.0) -> Claim:
        return self.turn([], b"0", max_batch, wait_s)[1]

    def settle(self, claim: Claim, **changes: Any) -> list[SettleCode]:
        settlements = [settlement(job.id, job.execution, **changes) for job in claim.jobs]
        return self.turn(settlements, claim.started, 0)[0]

    def turn(
        self,
        settlements: list[Settlement],
        started: bytes,
        max_batch: int,
        wait_s: float = 0.0,
    ) -> tuple[list[SettleCode], Claim]:
        codes: list[int] = []
        claim = self.scripts.turn(Ended(settlements, started, codes.extend), max_batch, wait_s)
        return [SettleCode(code) for code in codes], claim

    def end_lease(self) -> None:
        """As if nobody had heard of the worker for long."""
        self.connection.zadd(ECHO.leases, {self.token: 1})

    def waiting(self) -> list[str]:
        return [one.decode() for one in self.connection.lrange(ECHO.queue, 0, -1)]

    def job(self, job_id: str) -> dict[str, str]:
        found = self.connection.hgetall(f"{keys.JOB}{job_id}")
        return {name.decode(): value.decode(errors="replace") for name, value in found.items()}

    def counts(self) -> dict[str, int]:
        found = self.connection.hgetall(ECHO.metrics)
        return {name.decode(): int(value) for name, value in found.items()}

    def snapshot(self) -> dict[str, bytes]:
        """Everything that is in Redis."""
        return {
            key.decode(): self.connection.dump(key)
            for key in self.connection.scan_iter(count=1000)
            if key.decode() != ECHO.metrics
        }


def settlement(job_id: str, execution: str, **changes: Any) -> Settlement:
    values: dict[str, Any] = {
        "outcome": Outcome.FINISHED,
        "reply_key": keys.reply(job_id),
        "reply": b"reply",
        "result": b"Ij8i",
        "ttl_s": 500,
        "by_hash": JUDGED["by_hash"],
    }
    return Settlement(id=job_id, execution=execution, **{**values, **changes})


@contextmanager
def a_desk(connection: Redis, name: str = "resident-echo-1") -> Iterator[Desk]:
    """A desk with a link of its own."""
    link = Link(connection)
    yield Desk(connection, link, name)
    link.close()


def offer(desk: Desk) -> None:
    """The desk's worker offers itself."""
    desk.link.call(*desk.scripts.offer_command())


def offered(desk: Desk) -> bool:
    """Whether an offer stands."""
    return bool(desk.connection.hexists(ECHO.announcement, "offer"))


class Full:
    """Makes a Redis full, until it is freed."""

    def __init__(self, connection: Redis) -> None:
        self.connection = connection

    def fill(self) -> None:
        self.connection.config_set("maxmemory", "1")

    def free(self) -> None:
        self.connection.config_set("maxmemory", "0")

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()
