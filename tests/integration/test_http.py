"""The old page's URL, and what a load balancer asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import quote, unquote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from enqueue_api.app import make_app
from enqueue_api.async_client import AsyncClient
from resident.errors import ErrorCode, ResidentError, TransportError
from resident.protocol import Answered, Milliseconds
from resident.settings import Settings
from tests.support.processes import Processes
from tests.support.waiting import wait_until

TOO_LONG = b"x" * 1_000_000
QUESTION = "你们 周日 & 节假日 开门吗？+100%"


@pytest.fixture
def http(redis_url: str) -> Iterator[TestClient]:
    """The API in front of the task echo."""
    with TestClient(make_app(Settings(http_task="echo"))) as client:
        yield client


def test_the_answer_comes_back_percent_encoded(processes: Processes, http: TestClient) -> None:
    processes.start_worker("echo")
    reply = http.get(f"/deal?question={quote(QUESTION)}")
    assert (reply.status_code, reply.text) == (200, quote(QUESTION))


def test_a_form_is_asked_like_a_query(processes: Processes, http: TestClient) -> None:
    processes.start_worker("echo")
    assert unquote(http.post("/deal", data={"question": QUESTION}).text) == QUESTION
    assert unquote(http.post(f"/deal?question={quote(QUESTION)}").text) == QUESTION


def test_other_fields_may_hold_what_they_like(processes: Processes, http: TestClient) -> None:
    processes.start_worker("echo")
    assert unquote(http.get("/deal?a=%ff&question=%E4%BD%A0&b=%ff").text) == "你"
    assert unquote(http.post("/deal", content=b"a=\xff&question=%E4%BD%A0").text) == "你"


def test_without_a_worker_it_says_so_with_503(http: TestClient) -> None:
    reply = http.get("/deal?question=hello")
    assert (reply.status_code, reply.headers["x-resident-error"]) == (503, "no_worker")
    assert "No worker is ready" in unquote(reply.text)
    assert http.get("/healthz").status_code == 503


def test_health_names_the_tasks_that_are_served(processes: Processes, http: TestClient) -> None:
    processes.start_worker("echo")
    health = http.get("/healthz")
    assert (health.status_code, health.json()["tasks"]) == (200, ["echo"])


KEYS = ("k" * 16, "another-key-of-ours==")


@pytest.fixture
def locked(redis_url: str) -> Iterator[TestClient]:
    """The API for those who have a key."""
    with TestClient(make_app(Settings(http_task="echo", http_keys=KEYS))) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": KEYS[0]},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {KEYS[0][:-1]}"},
        {"Authorization": f"Bearer {KEYS[0]}k"},
        {"Authorization": f"Bearer {','.join(KEYS)}"},
        {"Authorization": "Bearer ÿ".encode("latin-1")},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_names_no_key_is_refused(
    method: str, headers: dict[str, str | bytes], locked: TestClient
) -> None:
    reply = locked.request(method, f"/deal?question={'x' * 100}", headers=headers)  # type: ignore[arg-type]
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer KEY" in reply.json()["detail"]
    assert "x-resident-error" not in reply.headers


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_who_names_a_key_is_answered(
    key: str, scheme: str, processes: Processes, locked: TestClient
) -> None:
    processes.start_worker("echo")
    reply = locked.get("/deal?question=hey", headers={"Authorization": f"{scheme} {key}"})
    assert (reply.status_code, reply.text) == (200, "hey")


def test_health_needs_no_key(locked: TestClient) -> None:
    assert locked.get("/healthz").status_code == 503  # there is no worker


def test_redis_away_is_503_and_a_transport_error(tmp_path: object) -> None:
    settings = Settings(redis_url=f"unix://{tmp_path}/none.sock")
    with TestClient(make_app(settings)) as http:
        reply = http.get("/deal?question=hello")
        assert (reply.status_code, reply.headers["x-resident-error"]) == (503, "transport_error")
        assert http.get("/healthz").json()["ok"] is False


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("GET", "/deal", None),
        ("POST", "/deal", b""),
        ("GET", "/deal?question=%ff%fe", None),
        ("GET", "/deal?question=%E4%BD", None),
        ("GET", "/deal?question=%ED%A0%80", None),
        ("POST", "/deal?question=%ff%fe", b"question=a"),
        ("POST", "/deal", b"question=%ff%fe"),
        ("POST", "/deal", "question=你好".encode()),
        ("POST", "/deal", b"question=" + b"x" * 1_000_000),
        ("GET", "/deal?question=" + "x" * 40_000, None),
    ],
)
def test_what_is_no_question_is_400(
    redis_url: str, method: str, url: str, body: bytes | None
) -> None:
    settings = Settings(http_task="echo", max_question_bytes=30_000)
    with TestClient(make_app(settings)) as http:
        reply = http.request(method, url, content=body)
        assert (reply.status_code, reply.headers["x-resident-error"]) == (400, "invalid_question")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *[("GET", path, 404) for path in ("/", "/deal/", "/healthz/", "//deal", "/docs")],
        ("POST", "/deal/", 404),
        *[(method, "/deal", 405) for method in ("HEAD", "PUT", "DELETE")],
        ("POST", "/healthz", 405),
    ],
)
def test_another_path_and_another_method_are_the_web_servers(
    http: TestClient, method: str, path: str, status: int
) -> None:
    reply = http.request(method, f"{path}?question=a", follow_redirects=False)
    assert (reply.status_code, "x-resident-error" in reply.headers) == (status, False)


class Pretended(AsyncClient):
    """A client without a Redis."""

    def __init__(self) -> None:
        self.asked = self.cancelled = 0

    async def tasks(self) -> list[str]:
        return []

    async def close(self) -> None:
        """There is nothing to close."""


class FixedClient(Pretended):
    """Answers the same to everybody, at once."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def ask(self, *_: object, **__: object) -> Answered:
        if isinstance(self.answer, ResidentError):
            raise self.answer
        return Answered(id="x", answer=self.answer, ms=Milliseconds(0, 0), batch=1)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("null", "null"),
        ({"时": [1, "a"]}, '{"时":[1,"a"]}'),
        (None, "null"),
        (True, "true"),
        (0.5, "0.5"),
        ("", ""),
    ],
)
def test_an_answer_that_is_no_text_comes_as_json(answer: object, text: str) -> None:
    with TestClient(make_app(Settings(), FixedClient(answer))) as http:
        reply = http.get("/deal?question=a")
        assert (reply.status_code, unquote(reply.text)) == (200, text)


class SlowClient(Pretended):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    async def ask(self, task: str, question: object, *_: object, **__: object) -> Answered:
        self.asked += 1
        await asyncio.to_thread(self.go_on.wait, 20)
        return Answered(id="x", answer=question, ms=Milliseconds(0, 0), batch=1)


def test_more_callers_than_places_are_refused_at_once() -> None:
    slow = SlowClient()
    codes: list[int] = []
    with TestClient(make_app(Settings(http_concurrency=2), slow)) as http:
        callers = [
            threading.Thread(target=lambda: codes.append(http.get("/deal?question=a").status_code))
            for _ in range(2)
        ]
        for caller in callers:
            caller.start()
        wait_until(lambda: slow.asked == 2)
        for refused in (http.get("/deal?question=b"), http.post("/deal", content=TOO_LONG)):
            assert (refused.status_code, refused.headers["x-resident-error"]) == (429, "overloaded")
        slow.go_on.set()
        for caller in callers:
            caller.join()
    assert codes == [200, 200]


class HangingClient(Pretended):
    """Answers nobody."""

    async def ask(self, *_: object, **__: object) -> Answered:
        self.asked += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1
        raise AssertionError


Message = dict[str, object]


async def ask_raw(
    app: FastAPI, method: str, query: bytes, receive: Callable[[], Awaitable[Message]]
) -> list[Message]:
    """What a request is answered with that a web server hands on in these pieces."""
    scope = {"type": "http", "method": method, "path": "/deal", "query_string": query}
    scope |= {"headers": [], "http_version": "1.1", "scheme": "http"}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]
    return sent


@pytest.mark.parametrize(
    ("method", "query", "asked"),
    [("GET", b"question=a", 2), ("POST", b"", 0)],
    ids=["while the model runs", "in mid-body"],
)
def test_a_caller_who_hangs_up_takes_its_question_back_and_leaves_its_place(
    method: str, query: bytes, asked: int
) -> None:
    hanging = HangingClient()
    app = make_app(Settings(http_concurrency=1), hanging)

    async def hang_up() -> None:
        part: Message = {"type": "http.request", "body": b"questi", "more_body": method == "POST"}
        messages = [part, {"type": "http.disconnect"}]

        async def receive() -> Message:
            return messages.pop(0)

        sent = await ask_raw(app, method, query, receive)
        assert sent[0]["status"] == ErrorCode.CANCELLED.http_status

    for _ in range(2):  # the second finds the only place free
        asyncio.run(hang_up())
    assert (hanging.asked, hanging.cancelled) == (asked, asked)


def test_a_question_in_flight_when_the_server_ends_is_taken_back_and_told_so() -> None:
    hanging = HangingClient()
    app = make_app(Settings(), hanging)

    async def end() -> None:
        there = asyncio.Event()

        async def receive() -> Message:
            there.set()
            await asyncio.Event().wait()
            raise AssertionError

        asking = asyncio.create_task(ask_raw(app, "GET", b"question=a", receive))
        await there.wait()
        asking.cancel()
        sent = await asking
        assert sent[0]["status"] == ErrorCode.CANCELLED.http_status

    asyncio.run(end())
    assert (hanging.asked, hanging.cancelled) == (1, 1)


@pytest.mark.parametrize(
    "message", ["Redis is full (at 10.0.0.7:6379)", "Redis was lost: 10.0.0.7"]
)
def test_where_redis_is_and_what_it_said_is_not_told_to_callers(message: str) -> None:
    fixed = FixedClient(TransportError(message))
    with capture_logs() as lines, TestClient(make_app(Settings(), fixed)) as http:
        reply = http.get("/deal?question=a")
    assert reply.status_code == 503
    assert unquote(reply.text) in ("Redis is full", "Redis was lost")
    assert lines[0]["error"] == message


def test_spans_which_would_hold_the_question_are_not_made() -> None:
    app = make_app(Settings(), FixedClient("a"))
    switches = ("tracing", "logs", "metrics", "operation_spans", "auto_configure")
    assert not any(app._telemetry[switch] for switch in switches)  # type: ignore[literal-required]
