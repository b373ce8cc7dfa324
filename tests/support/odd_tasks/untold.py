"""Fails in ways that escape who looks after its calls, as its question says; or answers it."""

import os
import time
from dataclasses import dataclass

from resident import task


class Named(type):
    __name__ = property(lambda kind: 1 / 0)  # type: ignore[assignment]


class Nameless(Exception, metaclass=Named):
    pass


class Mute(Exception):
    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


class Caused(Exception):
    __cause__ = property(lambda error: 1 / 0)  # type: ignore[assignment]


@dataclass
class Question:
    do: str

    def __post_init__(self) -> None:
        if self.do == "exit in check":
            raise SystemExit(3)
        if self.do == "hang in check":
            time.sleep(60)


def cost(question: Question) -> float:
    if question.do == "exit in cost":
        raise SystemExit(3)
    if question.do == "hang in cost":
        time.sleep(60)
    return 1.0


class Items(dict):  # type: ignore[type-arg]
    def items(self) -> object:
        raise MemoryError


RAISED = {
    "syntax": SyntaxError("?", ("file", 1, 2, 5)),
    "nameless": Nameless(),
    "mute": Mute(),
    "caused": Caused(),
}


@task(load=dict, max_batch=8, timeout_s=0.4, cost=cost)
def answer(_model: object, questions: list[Question]) -> list[object]:
    for question in questions:
        if question.do in RAISED:
            raise RAISED[question.do]
        if question.do == "close all":
            os.closerange(0, 5000)
    return [Items() if one.do == "no memory" else one.do for one in questions]
