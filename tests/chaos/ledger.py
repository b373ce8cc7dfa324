"""The ledger: what became of each question, by its caller and by Redis, and whether it balances.

Pure: entries and traces are handed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from script.table import table
from tests.chaos.questions import KINDS, Question

ANSWERED, EXPIRED, TRANSPORT = "answered", "expired", "transport_error"
#: A worker did not answer, and nothing says that it tried.
REFUSED = ("no_worker", "overloaded", TRANSPORT)
#: What any question may end with if a storm takes its worker.
TAKEN_BY_THE_STORM = ("crashed", "timed_out")


@dataclass(frozen=True)
class Entry:
    """What a caller had of one question.

    Attributes:
        id: The question's; empty if the caller did not learn of one.
        outcome: `answered`, an error's code, or, of what must not happen, a sentence.
        answer: What came as the answer.
        asks: How often the caller asked, with the same id.
        second: The outcome of asking again after the reply; empty if it did not.
    """

    caller: str
    question: Question
    id: str
    outcome: str
    answer: Any = None
    asks: int = 1
    second: str = ""

    @property
    def has_own_id(self) -> bool:
        """Whether its reply is read without being consumed."""
        return bool(self.question.id)

    @property
    def is_settled(self) -> bool:
        """Whether the caller has a reply that a worker has made."""
        return self.outcome not in (EXPIRED, *REFUSED)


@dataclass(frozen=True)
class Trace:
    """What Redis has of one question when all is quiet.

    Attributes:
        status: Of its job; empty if that is gone.
        replies: How many wait unread or kept.
        results: How many times it was settled.
        job: The job's fields, to look at.
    """

    status: str = ""
    replies: int = 0
    results: int = 0
    job: Mapping[str, str] = field(default_factory=dict, repr=False)


def verdict(entry: Entry, trace: Trace) -> str:
    """What is wrong with a question's end; empty if nothing is."""
    for judge in (_twice, _caller_side, _lost, _unfinished):
        if fault := judge(entry, trace):
            return fault
    return ""


def _twice(entry: Entry, trace: Trace) -> str:
    kept = int(entry.has_own_id and entry.is_settled)
    most = 0 if entry.is_settled and not entry.has_own_id else 1
    if trace.results > 1 or trace.replies > most:
        return "answered twice"
    if entry.id and trace.replies < kept:
        return "a kept reply is gone"
    if entry.second and entry.second != entry.outcome and not _is_hurried(entry):
        return "another reply the second time"
    return ""


def _is_hurried(entry: Entry) -> bool:
    """Whether the second ask had no reply in its short budget, which is none and no other."""
    return entry.second in (EXPIRED, *REFUSED) and not entry.question.is_patient


def _unfinished(entry: Entry, trace: Trace) -> str:
    if trace.status in ("queued", "started"):
        return f"left {trace.status}"
    if entry.is_settled and trace.results != 1:
        return "a reply that RQ does not know"
    return ""


def _caller_side(entry: Entry, _trace: Trace) -> str:
    error = KINDS[entry.question.kind][1]
    if entry.outcome == ANSWERED:
        if error:
            return "poison was answered"
        return "" if entry.answer == entry.question.nonce else "another question's answer"
    honest = (error, EXPIRED, *REFUSED, *TAKEN_BY_THE_STORM)
    return "" if entry.outcome in honest else f"dishonest: {entry.outcome}"


def _lost(entry: Entry, trace: Trace) -> str:
    """A patient caller has a reply, however often it asked; its budget outlasts every storm.

    Without a key of its own it cannot ask again: a refusal, or a reply that was on its way when
    the connection was cut, is the end.
    """
    if entry.is_settled or not entry.question.is_patient:
        return ""
    if not entry.has_own_id and (entry.outcome in REFUSED or is_cut_off(entry, trace)):
        return ""
    return "lost"


def is_cut_off(entry: Entry, trace: Trace) -> bool:
    """Whether the reply was popped for a caller who did not get it, and cannot read it again."""
    is_over = trace.results == 1 and trace.replies == 0
    return entry.outcome == EXPIRED and not entry.has_own_id and is_over


def is_blamed(entry: Entry) -> bool:
    """Whether an innocent question was taken for the one that killed its worker."""
    return not KINDS[entry.question.kind][1] and entry.outcome in TAKEN_BY_THE_STORM


@dataclass
class Ledger:
    """All that a run came to.

    Attributes:
        entries: What the callers had, each with what Redis has.
        disturbances: How many of each kind there were.
        left: Keys that should not be there.
        orphans: Processes that outlived their supervisors.
        troubles: What else must not happen, in sentences.
        notes: What may happen, and is worth a look.
    """

    entries: list[tuple[Entry, Trace]]
    disturbances: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Why it does not balance, one sentence each; empty if it does."""
        found = [
            f"{fault}: {entry.caller} {entry.question.kind!r} {entry.id or '(no id)'}, "
            f"{entry.outcome} after {entry.asks} asks, then {entry.second!r}; {trace}"
            for entry, trace in self.entries
            if (fault := verdict(entry, trace))
        ]
        found += [f"left behind: {key}" for key in self.left]
        found += [f"orphan: {process}" for process in self.orphans]
        found += self.troubles
        if self._is_vain():
            found.append("less than half of the innocent questions were answered")
        blamed = self._count(is_blamed)
        if blamed > self.disturbances.total():
            found.append(f"{blamed} innocent questions were blamed, more than there were storms")
        return found

    def text(self) -> str:
        """The ledger as a table, and below it what is wrong."""
        faults = self.faults()
        rows = [(name, str(count)) for name, count in self._lines()]
        lines = [table(("ledger", "count"), rows, limits={}, right={1})]
        lines += ["", table(("disturbance", "count"), self._storm(), limits={}, right={1}), ""]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"FAULT: {fault}" for fault in faults]
        lines.append("The ledger does not balance." if faults else "The ledger balances.")
        return "\n".join(lines)

    def _lines(self) -> list[tuple[str, int]]:
        verdicts = Counter(verdict(*one) for one in self.entries)
        outcomes = Counter(entry.outcome for entry, _ in self.entries)
        poison = sum(bool(KINDS[entry.question.kind][1]) for entry, _ in self.entries)
        return [
            ("asked", len(self.entries)),
            ("of these by PHP", sum(entry.caller.startswith("php") for entry, _ in self.entries)),
            ("of these with a key of their own", self._count(lambda entry: entry.has_own_id)),
            ("of these poison", poison),
            ("asked again after a refusal", self._count(lambda entry: entry.asks > 1)),
            ("asked again after the reply", self._count(lambda entry: bool(entry.second))),
            *((outcome, count) for outcome, count in sorted(outcomes.items())),
            ("of the expired: reply cut off", sum(is_cut_off(*one) for one in self.entries)),
            ("innocent, but blamed", self._count(is_blamed)),
            ("lost", verdicts["lost"]),
            ("answered twice", verdicts["answered twice"]),
            (
                "otherwise wrong",
                len(self.entries) - verdicts[""] - verdicts["lost"] - verdicts["answered twice"],
            ),
            ("keys left behind", len(self.left)),
            ("orphans", len(self.orphans)),
        ]

    def _storm(self) -> list[tuple[str, str]]:
        return [(kind, str(count)) for kind, count in sorted(self.disturbances.items())]

    def _count(self, of: Any) -> int:
        return sum(map(bool, (of(entry) for entry, _ in self.entries)))

    def _is_vain(self) -> bool:
        outcomes = [
            entry.outcome == ANSWERED
            for entry, _ in self.entries
            if entry.question.is_patient and not KINDS[entry.question.kind][1]
        ]
        return 2 * sum(outcomes) < len(outcomes) or not outcomes


def balance(entries: Iterable[Entry], traces: Mapping[str, Trace]) -> list[tuple[Entry, Trace]]:
    """Each entry with what Redis has of it."""
    return [(entry, traces.get(entry.id, Trace())) for entry in entries]
