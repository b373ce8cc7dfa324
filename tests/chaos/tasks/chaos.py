"""A model that does what its question says: the word in front of the colon."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import time

from resident import task


def load() -> None:
    """There is nothing to load; SIGUSR2 has a process say where it stands, even if it hangs."""
    faulthandler.register(signal.SIGUSR2)


def _hang() -> None:
    """For ever, in C, with the GIL held: no signal handler of Python runs, no signal ends it."""
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    for _ in range(2):
        libc.pthread_mutex_lock(mutex)


def _allocate_too_much() -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**30, limits[1]))
    try:
        bytearray(2**31)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _fail() -> None:
    msg = "the model does not like this question"
    raise RuntimeError(msg)


_DEEDS = {
    "ok": lambda: None,
    "slow": lambda: time.sleep(0.08),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),  # as the kernel does when memory is out
    "exit": lambda: os._exit(3),
    "hang": _hang,
    "sleep": lambda: time.sleep(60),
    "oom": _allocate_too_much,
    "raise": _fail,
}


@task(load=load, preload="CHAOS_NO_PRELOAD" not in os.environ, max_batch=8, timeout_s=0.5)
def answer(_model: None, questions: list[str]) -> list[str]:
    """Of each question what is behind the colon, which no other question has."""
    time.sleep(0.003)
    answers = []
    for question in questions:
        deed, _, nonce = question.partition(":")
        _DEEDS[deed]()
        answers.append(nonce)
    return answers
