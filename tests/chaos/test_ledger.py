"""The ledger can fail: each kind of imbalance is seen, and honest ends are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.disturbances import KINDS, plan
from tests.chaos.ledger import Entry, Ledger, Trace, is_cut_off, verdict
from tests.chaos.questions import Question, questions_of

OWN = Question("ok", "nonce", "own-1", 0.0, 30_000, is_patient=True, is_repeated=False)
MADE = replace(OWN, id="")
IMPATIENT = replace(OWN, budget_ms=50, is_patient=False)
POISON = replace(OWN, kind="segfault")

KEPT = Trace("finished", replies=1, results=1)
CONSUMED = Trace("finished", replies=0, results=1)
FAILED = Trace("failed", replies=1, results=1)
NOTHING = Trace()


def entry(question: Question, outcome: str, answer: Any = None, **more: Any) -> Entry:
    return Entry("php-1", question, question.id or "made-1", outcome, answer, **more)


ANSWERED = entry(OWN, "answered", "nonce")

HONEST = {
    "an answer that is kept": (ANSWERED, KEPT),
    "an answer that was consumed": (entry(MADE, "answered", "nonce"), CONSUMED),
    "the same answer again": (replace(ANSWERED, second="answered"), KEPT),
    "no reply again in a short budget": (
        entry(IMPATIENT, "answered", "nonce", second="transport_error"),
        KEPT,
    ),
    "poison that crashed": (entry(POISON, "crashed"), FAILED),
    "a question that the storm took": (entry(OWN, "timed_out"), FAILED),
    "a short budget that ran out": (entry(IMPATIENT, "expired"), NOTHING),
    "a short budget that ran out while the model ran": (entry(IMPATIENT, "expired"), KEPT),
    "a short budget without a Redis": (entry(IMPATIENT, "transport_error"), NOTHING),
    "a refusal that cannot be repeated": (entry(MADE, "no_worker"), NOTHING),
    "a reply that was cut off on its way": (entry(MADE, "expired"), CONSUMED),
}
WRONG = {
    "lost": (entry(OWN, "expired"), NOTHING),
    "lost, and on no queue": (entry(OWN, "expired"), Trace("queued")),
    "lost, with a reply that nobody was given": (entry(MADE, "expired"), KEPT),
    "lost, without a key": (entry(MADE, "expired"), NOTHING),
    "lost, and refused to the end": (entry(OWN, "transport_error"), NOTHING),
    "answered twice": (ANSWERED, replace(KEPT, replies=2)),
    "answered twice, and read once": (entry(MADE, "answered", "nonce"), KEPT),
    "answered twice in RQ's books": (ANSWERED, replace(KEPT, results=2)),
    "answered twice, though too late": (entry(IMPATIENT, "expired"), replace(KEPT, replies=2)),
    "a kept reply is gone": (ANSWERED, CONSUMED),
    "another reply the second time": (replace(ANSWERED, second="crashed"), KEPT),
    "another reply the second time, in a short budget": (
        entry(IMPATIENT, "answered", "nonce", second="crashed"),
        KEPT,
    ),
    "another reply the second time, which is none": (
        replace(ANSWERED, second="expired"),
        KEPT,
    ),
    "another question's answer": (entry(OWN, "answered", "other"), KEPT),
    "poison was answered": (entry(POISON, "answered", "nonce"), KEPT),
    "dishonest: model_error": (entry(OWN, "model_error"), FAILED),
    "dishonest: KeyError: 'x'": (entry(OWN, "KeyError: 'x'"), FAILED),
    "a reply that RQ does not know": (ANSWERED, replace(KEPT, results=0)),
    "left started": (entry(IMPATIENT, "expired"), Trace("started")),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_end_is_no_fault(name: str) -> None:
    assert verdict(*HONEST[name]) == ""


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_end_is_a_fault(name: str) -> None:
    assert verdict(*WRONG[name]) == name.partition(", ")[0].replace(" in RQ's books", "")


def test_a_ledger_of_honest_ends_balances() -> None:
    ledger = Ledger(list(HONEST.values()), Counter({"stop a worker": 1}))
    assert not ledger.faults()
    assert ledger.text().endswith("The ledger balances.")


@pytest.mark.parametrize(
    "wrong",
    [
        {"entries": [(ANSWERED, KEPT), WRONG["lost"]]},
        {"left": ["rq:wip:chaos"]},
        {"orphans": ["4711"]},
        {"troubles": ["php-1 still waits"]},
        {"entries": []},
        {"entries": [(ANSWERED, KEPT), HONEST["a question that the storm took"]]},
    ],
)
def test_a_ledger_with_one_fault_does_not_balance(wrong: dict[str, Any]) -> None:
    ledger = Ledger(**{"entries": [(ANSWERED, KEPT)], **wrong})
    (fault,) = ledger.faults()
    assert f"FAULT: {fault}" in ledger.text()


def test_only_a_caller_without_a_key_has_its_reply_cut_off() -> None:
    assert is_cut_off(entry(MADE, "expired"), CONSUMED)
    assert not is_cut_off(entry(OWN, "expired"), CONSUMED)


def test_a_seed_decides_the_questions_and_the_storm() -> None:
    assert list(questions_of("1 a", 5, 30_000)) == list(questions_of("1 a", 5, 30_000))
    assert list(questions_of("1 a", 5, 30_000)) != list(questions_of("1 b", 5, 30_000))
    assert plan("1", 60, 0.25) == plan("1", 60, 0.25)
    assert {one.kind for one in plan("1", 60, 0.25)} == set(KINDS)
