"""What a file in tasks/ uses: the @task decorator, and the registry it fills.

The registry is the allow-list: a worker runs the tasks in it and nothing else, whatever a job
names.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from resident import names
from resident.errors import ConfigurationError, ErrorCode, error_for, invalid_question
from resident.signatures import read_signature
from resident.stopping import StopNow

#: More than this in one batch would block Redis for too long in one claim (about 40 ms).
MAX_BATCH_LIMIT = 1024
#: A day in seconds, more than any question needs.
MAX_TIMEOUT_S = 86_400.0
#: How long questions wait for company at most, in ms, and what a task may choose instead.
DEFAULT_TARGET_MS = 20.0
MAX_TARGET_MS = 50.0

Function = Callable[..., Any]
#: What could be taken for a list of answers, and is none: it has another order, or none.
_NO_LISTS = (str, bytes, bytearray, dict, set, frozenset)

_registry: dict[str, Task] = {}


@dataclass(frozen=True, eq=False)
class Task:
    """One resident model with its function.

    Attributes:
        name: The file's name in tasks/, the queue's name in RQ, and what callers ask for.
        function: `(model, questions) -> answers`, as many answers as questions, in their order;
            of a streaming task `(model, question)`, which yields its answer in parts.
        load: Makes the model; runs once per process, before the first question.
        question_type: The type that every question must have, read from the function's signature.
        warm_up: Questions that are answered once after the load, so that the first caller
            does not pay for what the library does lazily.
        max_batch: The most questions in one call.
        target_ms: The longest that questions wait for company that makes a batch cheaper.
        cost: What a question costs the model, if batches are padded to their longest; or None.
        max_cost: The most that a batch may cost: its size times its dearest question.
        timeout_s: Seconds that one call may take.
        preload: False if the library does not survive a fork: each worker then loads for itself.
        callbacks: RQ callbacks that jobs of this task may name besides Resident's own.
        streams: It yields the answer to one question in deltas.
    """

    name: str
    function: Function
    load: Callable[[], Any]
    question_type: Any
    warm_up: tuple[Any, ...]
    max_batch: int
    timeout_s: float
    preload: bool
    callbacks: tuple[Function, ...]
    target_ms: float = DEFAULT_TARGET_MS
    cost: Callable[[Any], float] | None = None
    max_cost: float = math.inf
    streams: bool = False

    @property
    def function_name(self) -> str:
        """The dotted name that jobs carry."""
        return names.function_name(self.name)

    @property
    def longest_batch_s(self) -> float:
        """Seconds that a batch may take: at worst a call for each question, and then once more."""
        return self.timeout_s * 2 * self.max_batch

    def check(self, question: Any) -> Any:
        """The question as the task's type; raises CallerError (invalid_question)."""
        if self.question_type is Any or type(question) is self.question_type:
            return question  # convert() looks at its type anew each time, 3 µs
        try:
            return msgspec.convert(question, self.question_type)
        except msgspec.ValidationError as error:
            msg = f"The task {self.name!r} takes another type of question: {error}"
            raise invalid_question(msg) from None
        except StopNow:
            raise
        except BaseException as error:  # noqa: BLE001  (a type's own check may raise anything)
            msg = f"The task {self.name!r} cannot read the question: {type(error).__name__}"
            raise invalid_question(msg) from None

    def answer(self, model: Any, questions: list[Any]) -> list[Any]:
        """Calls the function.

        Raises:
            OperatorError: model_error, unless it gives a list with one answer to each question.
        """
        if self.streams:
            return ["".join(self.deltas(model, question)) for question in questions]
        asked = len(questions)  # counted before: the function may do to its list what it likes
        given = self.function(model, questions)
        if given is None or isinstance(given, _NO_LISTS):
            what = "None" if given is None else f"a {type(given).__name__}"
            raise self._wrong(f"returned {what}; it must return a list of answers")
        answers = list(given)
        if len(answers) != asked:
            what = f"gave {len(answers)} answers to {asked} questions"
            raise self._wrong(f"{what}; it must give one to each, in their order")
        return answers

    def deltas(self, model: Any, question: Any) -> Generator[str, None, None]:
        """What a streaming task yields, without empty strings; closed, it closes the function.

        Raises:
            OperatorError: model_error, for what is no string; the message names its type.
        """
        produced = self.function(model, question)
        if isinstance(produced, str):
            raise self._wrong("returned a str; it must yield")
        try:
            for delta in produced:
                if not isinstance(delta, str):
                    raise self._wrong(f"yielded a {type(delta).__name__}; it must yield str")
                if delta:
                    yield delta if type(delta) is str else "".join(delta)
        finally:
            if (close := getattr(produced, "close", None)) is not None:
                close()

    def _wrong(self, what: str) -> Exception:
        return error_for(ErrorCode.MODEL_ERROR, f"tasks/{self.name}.py {what}")


@functools.cache
def model_of(task: Task) -> Any:
    """The task's model, loaded and warmed up on the first call in this process.

    Raises:
        ConfigurationError: It failed; the message names the task, the reason and the place.
    """
    model = _in_loading("does not load", task, task.load)
    if task.warm_up:
        warm_up = list(task.warm_up)
        _in_loading("loads, but fails in warm_up", task, lambda: task.answer(model, warm_up))
    return model


def _in_loading(what: str, task: Task, step: Callable[[], Any]) -> Any:
    """Raises ConfigurationError if it fails: one line with the task, the reason and the place."""
    try:
        return step()
    except (ConfigurationError, KeyboardInterrupt, StopNow):
        raise
    except BaseException as error:  # sys.exit and a library's panic are none
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        msg = f"The task {task.name!r} {what}: {reason}{_place_in_tasks(error)}"
        raise ConfigurationError(msg) from error


def task(  # noqa: PLR0913  (the options of a task)
    *positional: None,
    load: Callable[[], Any] | None = None,
    warm_up: Sequence[Any] = (),
    max_batch: int = 1,
    target_ms: float = DEFAULT_TARGET_MS,
    cost: Callable[[Any], float] | None = None,
    max_cost: float = math.inf,
    timeout_s: float = 60.0,
    preload: bool = True,
    callbacks: Sequence[Function] = (),
) -> Callable[[Function], Function]:
    """Makes `answer(model, questions)` of a file in tasks/ a task that workers run.

    If it yields, `answer(model, question) -> Iterator[str]`, the answer is what it yields, and
    callers may read it as it comes.

    The decorated name stays a plain function of one question, so that a stock RQ worker can run
    the same job: it loads the model on its first call. The original is its `__wrapped__`.

    Args:
        positional: Nothing; whoever writes `@task` without brackets is told so.
        load: Makes the model; runs once per process. It must be given.
        warm_up: Questions to answer once after the load.
        max_batch: The most questions in one call, 1 to 1024.
        target_ms: The longest that questions wait for company, 0 to 50. They wait only when the
            worker has seen that it pays, and never alone; 0 forbids it.
        cost: What a question costs, say its length in tokens, for a model that pads a batch to its
            longest question. Dear and cheap ones then go in calls of their own.
        max_cost: With cost: the most that size times dearest question may come to in one call.
        timeout_s: Seconds that one call may take, 0.1 to 86400.
        preload: False if the library does not survive a fork.
        callbacks: RQ callbacks that jobs of this task may name besides Resident's own.

    Raises:
        ConfigurationError: The function is neither `answer(model, questions: list[T])` nor
            `answer(model, question: T) -> Iterator[str]` in a file of tasks/, load is missing, or
            an option is of the wrong type or out of its range.
    """
    if positional:
        raise _without_load(positional[0])

    def register(function: Function) -> Function:
        if load is None:
            raise _without_load(function)
        made = _made_of(
            function,
            load=load,
            warm_up=warm_up,
            max_batch=max_batch,
            target_ms=target_ms,
            cost=cost,
            max_cost=max_cost,
            timeout_s=timeout_s,
            preload=preload,
            callbacks=callbacks,
        )
        _registry[made.name] = made
        return functools.wraps(function)(single_question_function(made))

    return register


def _made_of(function: Function, **options: Any) -> Task:
    _check_options(function.__module__, **options)
    options |= {name: tuple(options[name]) for name in ("warm_up", "callbacks")}
    name, signature = _task_name(function), read_signature(function)
    if signature.streams and options["max_batch"] != 1:
        msg = f"tasks/{name}.py yields, so it takes one question a call: leave max_batch out"
        raise ConfigurationError(msg)
    return Task(
        name=name,
        function=function,
        question_type=signature.question_type,
        streams=signature.streams,
        **options,
    )


def single_question_function(task: Task) -> Callable[[Any], Any]:
    """The task as RQ calls it: one question, with this process's model."""

    def answer_one(question: Any) -> Any:
        return task.answer(model_of(task), [task.check(question)])[0]

    return answer_one


def task_names() -> list[str]:
    """The names of the files in tasks/, whether they load or not."""
    package = importlib.import_module("tasks")
    return sorted(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    )


def load_task(name: str) -> Task:
    """Imports tasks/<name>.py and returns its task.

    Raises:
        ConfigurationError: There is no such file (the message lists those there are), it cannot
            be imported, or it defines no task.
    """
    known = task_names()
    if name not in known:
        msg = f"There is no task {name!r}. The tasks are: {', '.join(known) or 'none yet'}."
        raise ConfigurationError(msg)
    if not names.TASK.fullmatch(name):
        msg = f"Nobody could ask for {name!r}: rename tasks/{name}.py to a-z 0-9 _, a letter first"
        raise ConfigurationError(msg)
    try:
        importlib.import_module(f"tasks.{name}")
    except (ConfigurationError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit and a library's panic are none
        where = _place_in_tasks(error)
        msg = f"tasks/{name}.py cannot be imported: {type(error).__name__}: {error}{where}"
        raise ConfigurationError(msg) from error
    if name not in _registry:
        msg = f"tasks/{name}.py has no function `answer` under @task; see README, 'Your own model'."
        raise ConfigurationError(msg)
    return _registry[name]


def _task_name(function: Function) -> str:
    called = getattr(function, "__qualname__", type(function).__name__)
    package, _, name = function.__module__.rpartition(".")
    if package != "tasks" or called != "answer":
        msg = f"{function.__module__}.{called}: a task is the function `answer` of a file in tasks/"
        raise ConfigurationError(msg)
    return name


def _without_load(function: Any) -> ConfigurationError:
    where = getattr(function, "__module__", "a task")
    return ConfigurationError(f"{where}: write @task(load=...), where load makes the model")


def _check_options(where: str, **options: Any) -> None:
    for name, value in options.items():
        is_right, wanted = _OPTIONS[name]
        if not is_right(value):
            msg = f"{where}: {name}={value!r:.60} is not {wanted}"
            raise ConfigurationError(msg)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_number(value: Any, low: float, high: float, *types: type[float]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool) and low <= value <= high


#: What each option of @task must be, and the words for it.
_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "load": (
        lambda value: callable(value) and not inspect.iscoroutinefunction(value),
        "a function that is not async",
    ),
    "warm_up": (_is_list, "a list of questions"),
    "max_batch": (
        lambda value: _is_number(value, 1, MAX_BATCH_LIMIT, int),
        f"a whole number from 1 to {MAX_BATCH_LIMIT}",
    ),
    "target_ms": (
        lambda value: _is_number(value, 0, MAX_TARGET_MS, int, float),
        f"a number from 0 to {MAX_TARGET_MS:.0f}",
    ),
    "cost": (lambda value: value is None or callable(value), "a function"),
    "max_cost": (
        lambda value: _is_number(value, 0, math.inf, int, float) and value > 0,
        "a number over 0",
    ),
    "timeout_s": (
        lambda value: _is_number(value, 0.1, MAX_TIMEOUT_S, int, float),
        f"a number from 0.1 to {MAX_TIMEOUT_S:.0f}",
    ),
    "preload": (lambda value: isinstance(value, bool), "True or False"),
    "callbacks": (
        lambda value: _is_list(value) and all(map(callable, value)),
        "a list of functions",
    ),
}


def _place_in_tasks(error: BaseException) -> str:
    """Where in tasks/ an import or a loading went wrong, as ` (line n of tasks/x.py)`."""
    if isinstance(error, SyntaxError):
        return ""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("tasks."):
            place = f" (line {trace.tb_lineno} of {trace.tb_frame.f_code.co_filename})"
        trace = trace.tb_next
    return place
