"""A model of 400 MB that all workers read, as a matrix of numpy is."""

from __future__ import annotations

import numpy as np

from resident import task

_MB = 2**20


def load() -> np.ndarray:
    """Random numbers, so that no two pages are the same."""
    return np.random.default_rng(1).integers(0, 255, 400 * _MB, dtype=np.uint8)


@task(load=load, max_batch=32, timeout_s=10)
def answer(model: np.ndarray, questions: list[str]) -> list[int]:
    """The sum of all numbers, which reads every page."""
    return [int(model.sum())] * len(questions)
