"""Does to its worker what the question says: a word, or anything else to be answered as it is."""

import ctypes
import os
import signal
import sys
import threading
import time

from resident import task


def load() -> None:
    pass


def _fork_and_go_on() -> None:
    if os.fork() == 0:
        return


def _fork_and_hang() -> None:
    if os.fork():
        _hang()


def _spin() -> None:
    numbers = __import__("numpy").ones(2**22)
    while True:
        numbers.sort()


def _hang() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    ctypes.PyDLL(None).pause()  # in C, deaf, and with the GIL


def _interrupt() -> None:
    raise KeyboardInterrupt


def _deadlock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


DEEDS = {
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exit": lambda: os._exit(3),
    "exit misconfigured": lambda: os._exit(2),
    "exit well": lambda: os._exit(0),
    "sys.exit": lambda: sys.exit(3),
    "raise": lambda: 1 / 0,
    "interrupt": _interrupt,
    "hang": _hang,
    "fork and hang": _fork_and_hang,
    "deadlock": _deadlock,
    "sleep": lambda: time.sleep(60),
    "spin": _spin,
    "fork": _fork_and_go_on,
    "thread": lambda: threading.Thread(target=time.sleep, args=(60,), daemon=True).start(),
    "close": lambda: os.closerange(0, 100),
    "chdir": lambda: os.chdir("/"),
    "print": lambda: sys.stdout.write("x" * 4_000_000),
    "signals": lambda: [
        signal.signal(one, signal.SIG_IGN) for one in (signal.SIGALRM, signal.SIGTERM)
    ],
}


@task(load=load, max_batch=8, timeout_s=0.4)
def answer(_model: None, questions: list[str]) -> list[str]:
    for question in questions:
        DEEDS.get(question, lambda: None)()
    return questions
