"""What runs in the processes of one peer: its server, or its callers.

    python -m bench.peer NAME serve     serves until it is ended
    python -m bench.peer NAME ask       does what the lines on standard input say

Each order is a JSON object on one line, and so is what came of it. Only the standard library: a
peer's environment has nothing else for certain. BENCH_URL says where: a Redis, or an address
for HTTP. A module in bench/peers/ has `serve()`, and what its callers use:

    ask(question) -> answer     the library's own way; `async def` if it is an asynchronous one
    links(callers)              for the load generator, where it can speak the protocol itself
    fill(count)                 puts questions on the queue and waits for none
    submit(count)               the same, the way that a client does it
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from bench.load import Link, Load, closed_loop, open_loop
from bench.load import ask as ask_link
from bench.tail import watched_trips

QUESTION = "今天几点开门？"
START_TIMEOUT_S = 30.0
_POLL_S = 0.02
#: Of an open loop; more questions than this in flight wait for a connection.
_MOST_LINKS = 1_024

Orders = dict[str, Callable[..., Any]]


def main() -> None:
    """Runs what the command line names."""
    name, role = sys.argv[1:]
    peer = importlib.import_module(f"bench.peers.{name}")
    gc.collect()
    gc.freeze()
    if role == "serve":
        peer.serve()
    elif inspect.iscoroutinefunction(getattr(peer, "ask", None)):
        loop = asyncio.new_event_loop()
        obey(asynchronous_orders(peer.ask, loop) | own_orders(peer))
    else:
        obey(orders_of(peer) | own_orders(peer))


def obey(orders: Orders) -> None:
    """Until standard input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        try:
            came_of_it = orders[order.pop("do")](**order)
        except Exception as error:  # noqa: BLE001  (the harness shall say it in its table)
            came_of_it = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(came_of_it), flush=True)


def own_orders(peer: ModuleType) -> Orders:
    """What this peer does itself."""
    names = ("fill", "fill_finished", "submit")
    return {name: seconds_of(getattr(peer, name)) for name in names if hasattr(peer, name)}


def seconds_of(call: Callable[[int], object]) -> Callable[[int], float]:
    """The call, returning how long it took."""

    def timed(count: int) -> float:
        began = time.perf_counter()
        call(count)
        return time.perf_counter() - began

    return timed


def orders_of(peer: ModuleType) -> Orders:
    """For callers that block: by the load generator where it can, else a thread each."""

    def trip() -> float:
        if not hasattr(peer, "ask"):
            return ask_link(links_of(1)[0])
        began = time.perf_counter()
        check(peer.ask(QUESTION))
        return (time.perf_counter() - began) * 1000

    kept: list[Link] = []

    def links_of(callers: int) -> list[Link]:
        if len(kept) < callers:
            kept.extend(peer.links(callers - len(kept)))
        return kept[:callers]

    def load(callers: int, seconds: float, warm_up_s: float) -> Load:
        if hasattr(peer, "links"):
            return closed_loop(links_of(callers), seconds, warm_up_s)
        return threads_load(peer.ask, callers, seconds, warm_up_s)

    return {
        "wait": lambda: wait_for(trip),
        "trips": lambda count, seconds: trips(trip, count, seconds),
        "watched": lambda **order: [vars(each) for each in watched_trips(trip, **order)],
        "load": told(load),
        "arrivals": told(lambda rate, seconds: open_loop(links_of(_MOST_LINKS), rate, seconds)),
    }


def asynchronous_orders(ask: Callable[[str], Any], loop: asyncio.AbstractEventLoop) -> Orders:
    """For callers that are coroutines: a task each."""

    async def trip() -> float:
        began = time.perf_counter()
        check(await ask(QUESTION))
        return (time.perf_counter() - began) * 1000

    async def load(callers: int, seconds: float, warm_up_s: float) -> Load:
        start = time.perf_counter() + warm_up_s
        came: list[float] = []

        async def caller() -> None:
            while time.perf_counter() < start + seconds:
                took = await trip()
                if start < time.perf_counter() <= start + seconds:
                    came.append(took)

        await asyncio.gather(*(caller() for _ in range(callers)))
        return Load(seconds, came)

    run = loop.run_until_complete
    return {
        "wait": lambda: wait_for(lambda: run(trip())),
        "trips": lambda count, seconds: trips(lambda: run(trip()), count, seconds),
        "load": told(lambda callers, seconds, warm_up_s: run(load(callers, seconds, warm_up_s))),
    }


def threads_load(ask: Callable[[str], Any], callers: int, seconds: float, warm_up_s: float) -> Load:
    """Each caller is a thread that asks again as soon as it is answered."""
    start = time.perf_counter() + warm_up_s
    came: list[float] = []
    raised: list[BaseException] = []

    def caller() -> None:
        try:
            while (began := time.perf_counter()) < start + seconds:
                check(ask(QUESTION))
                now = time.perf_counter()
                if start < now <= start + seconds:
                    came.append((now - began) * 1000)
        except BaseException as error:  # noqa: BLE001  (raised again below)
            raised.append(error)

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    return Load(seconds, came)


def trips(trip: Callable[[], float], count: int, seconds: float) -> list[float]:
    """The times of so many round trips, or of as many as so many seconds hold."""
    deadline = time.perf_counter() + seconds
    times: list[float] = []
    while len(times) < count and time.perf_counter() < deadline:
        times.append(trip())
    return times


def wait_for(trip: Callable[[], object]) -> None:
    """Returns with the first answer; a server that is starting may refuse for a while."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            trip()
        except Exception:  # every library refuses in its own words
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
        else:
            return


def check(answer: object) -> None:
    """Raises ValueError unless it is the question's echo."""
    if answer != QUESTION:
        msg = f"a wrong answer: {answer!r}"
        raise ValueError(msg)


def told(measure: Callable[..., Load]) -> Callable[..., dict[str, Any]]:
    """The load as JSON, and the share of a core that these callers used."""

    def order(**arguments: Any) -> dict[str, Any]:
        began, cpu_began = time.perf_counter(), time.process_time()
        load = measure(**arguments)
        share = (time.process_time() - cpu_began) / (time.perf_counter() - began)
        found = {"rate": load.rate, "times_ms": load.times_ms, "batches": load.batches}
        return found | {"caller_cpu": share}

    return order


if __name__ == "__main__":
    main()
