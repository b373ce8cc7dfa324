"""What disturbs a run: the plan, which the seed decides, and how each kind is done."""

from __future__ import annotations

import heapq
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from resident.embedded_redis import EmbeddedRedis
from tests.chaos.hosts import Hosts
from tests.chaos.proxy import Network
from tests.chaos.server import arrange

#: Each kind with how long it lasts, in seconds, and how often it is drawn in one round.
KINDS: dict[str, tuple[float, float, int]] = {
    "kill a worker": (0, 0, 4),
    "kill a supervisor": (0, 0, 1),
    "kill a parent": (0, 0, 1),
    "kill a host": (0, 0, 1),
    "stop a worker": (0.1, 3, 2),
    "stop a supervisor": (0.5, 4, 1),
    "stop a host": (0.5, 5, 1),
    "reload a host": (0, 0, 1),
    "restart redis": (0, 1, 1),
    "kill redis": (0, 1, 1),
    "cut a way": (0, 0, 2),
    "refuse on a way": (0.2, 2, 1),
    "slow a way": (0.5, 2, 1),
    "stall a way": (0.5, 3, 1),
}
#: A slow way's delay in seconds, each direction; a stalled one's is that of its end.
_SLOW_S = (0.002, 0.06)


@dataclass(frozen=True)
class Disturbance:
    """One of the plan.

    Attributes:
        place: A number that chooses the host, the way and the process, from 0 to 1.
    """

    at_s: float
    kind: str
    lasts_s: float
    place: float


def plan(seed: str, seconds: float, tick_s: float) -> list[Disturbance]:
    """What happens when: every tick by chance; no kind twice before all have had their turns."""
    chance = random.Random(seed)
    deck: list[str] = []
    planned = []
    for tick in range(1, int(seconds / tick_s)):
        if chance.random() < 0.3:
            continue
        if not deck:
            deck = [kind for kind, (_, _, often) in KINDS.items() for _ in range(often)]
            chance.shuffle(deck)
        kind = deck.pop()
        shortest, longest, _ = KINDS[kind]
        lasts_s = chance.uniform(shortest, longest)
        planned.append(Disturbance(tick * tick_s, kind, lasts_s, chance.random()))
    return planned


class Storm:
    """Does what the plan says, and undoes what does not pass by itself."""

    def __init__(
        self, redis: EmbeddedRedis, hosts: Hosts, network: Network, say: Callable[[str], object]
    ) -> None:
        """Takes the network with one way for each host, in their order, and others behind."""
        self.done: Counter[str] = Counter()
        self._redis = redis
        self._hosts = hosts
        self._network = network
        self._say = say
        self._undo: list[tuple[float, int, Callable[[], object]]] = []
        self._began = time.monotonic()

    def run(self, planned: list[Disturbance], seconds: float, ways: int) -> None:
        """Returns when the time is over and everything is as it was."""
        self._began = time.monotonic()
        waiting = list(planned)
        while (now_s := time.monotonic() - self._began) < seconds or self._undo:
            while waiting and waiting[0].at_s <= now_s < seconds:
                self._do(waiting.pop(0), ways)
            self._undo_what_is_due()
            self._hosts.keep_up()
            time.sleep(0.02)
        self._hosts.go_on()

    def _do(self, one: Disturbance, ways: int) -> None:
        verb, _, what = one.kind.partition(" a ")
        if what in ("worker", "supervisor", "parent", "host"):
            is_done = self._to_processes(verb, what, one)
        elif one.kind.endswith("redis"):
            is_done = self._to_redis(one)
        else:
            is_done = self._to_way(one, int(one.place * ways))
        if is_done:
            self.done[one.kind] += 1

    def _to_processes(self, verb: str, what: str, one: Disturbance) -> bool:
        # A host that has no supervisor yet is loading, and knows no SIGHUP.
        layer = ("supervisor" if verb == "reload" else "parent") if what == "host" else what
        there_are = [layers for host in self._hosts.all if (layers := host.layers())[layer]]
        if not there_are:
            return False
        scaled = one.place * len(there_are)
        layers = there_are[int(scaled)]
        if verb == "reload":
            return self._signal(one, layers["parent"], signal.SIGHUP)
        if what == "host":
            pids = [*layers["parent"], *layers["supervisor"], *layers["worker"]]
        else:
            there = layers[what]
            pids = there and [there[int(scaled % 1 * len(there))]]
        if verb == "kill":
            return self._signal(one, pids, signal.SIGKILL)
        self._later(one, lambda: [self._hosts.signal(pid, signal.SIGCONT) for pid in pids])
        return self._signal(one, pids, signal.SIGSTOP)

    def _signal(self, one: Disturbance, pids: list[int], signum: signal.Signals) -> bool:
        self._note(one, f"{signum.name} {pids}")
        return any([self._hosts.signal(pid, signum) for pid in pids])

    def _to_redis(self, one: Disturbance) -> bool:
        if not self._redis.pid:
            return False
        self._note(one)
        if one.kind.startswith("kill"):
            self._redis.kill()
        else:
            self._redis.stop()
        self._later(one, self._start_redis)
        return True

    def _start_redis(self) -> None:
        arrange(self._redis.start())

    def _to_way(self, one: Disturbance, way: int) -> bool:
        network = self._network
        self._note(one, f"way {way}")
        if one.kind.startswith("cut"):
            network.cut(way)
        elif one.kind.startswith("refuse"):
            network.refuse(way, True)
            self._later(one, lambda: network.refuse(way, False))
        else:
            shortest, longest = _SLOW_S
            is_stall = one.kind.startswith("stall")
            delay_s = one.lasts_s if is_stall else shortest + one.place * (longest - shortest)
            network.slow(way, delay_s)
            self._later(one, lambda: network.slow(way, 0))
        return True

    def _later(self, one: Disturbance, undo: Callable[[], object]) -> None:
        due = time.monotonic() + one.lasts_s
        heapq.heappush(self._undo, (due, len(self._undo) + id(undo), undo))

    def _undo_what_is_due(self) -> None:
        while self._undo and self._undo[0][0] <= time.monotonic():
            heapq.heappop(self._undo)[2]()

    def _note(self, one: Disturbance, what: str = "") -> None:
        lasts = f" for {one.lasts_s:.2f} s" if one.lasts_s else ""
        at_s = time.monotonic() - self._began
        self._say(f"{at_s:7.2f} s  {one.kind}{lasts}  {what}".rstrip())
