"""What the signature of a task's function says: its question's type, and whether it streams."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from resident.errors import ConfigurationError

#: What a function that yields may be annotated with.
_STREAMS = (collections.abc.Iterator, collections.abc.Generator, collections.abc.Iterable)
#: What a worker gives it, (model, questions), must find its place.
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_MISSING = object()
_HOW_TO_STREAM = "a task that yields is annotated -> Iterator[str]"


@dataclass(frozen=True)
class Signature:
    """How a task's function is called.

    Attributes:
        question_type: The type of one question; Any if there is no annotation.
        streams: It takes one question and yields its answer in deltas.
    """

    question_type: Any
    streams: bool


def read_signature(function: Callable[..., Any]) -> Signature:
    """The signature of `answer(model, questions: list[T])`, or of one that yields str.

    Raises:
        ConfigurationError: It is neither; one sentence says what is wrong.
    """
    where = f"{function.__module__}.answer"
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 2:
        msg = (
            f"{where} takes (model, questions), two parameters, or (model, question) if it yields; "
            f"it has {len(parameters)}"
        )
        raise ConfigurationError(msg)
    for one in parameters:
        if one.kind not in _BY_PLACE:
            msg = f"{where} gets its {one.name!r} by place: leave out the * before it"
            raise ConfigurationError(msg)
    question = parameters[1].name
    hints = _hints(where, function, question)
    if _is_stream(where, function, hints.get("return")):
        if question == "questions":
            msg = f"{where} yields, so it takes one question a call: name its parameter `question`"
            raise ConfigurationError(msg)
        return Signature(_readable(where, hints.get(question, Any)), streams=True)
    item_type = _item_type(f"{where}: {question}", hints.get(question, list[Any]))
    return Signature(_readable(where, item_type), streams=False)


def _hints(where: str, function: Callable[..., Any], question: str) -> dict[str, Any]:
    """The annotations of the question and of what is returned; nobody needs the model's.

    That may be of a name which only type checkers know.
    """
    found = {}
    for name in (question, "return"):
        try:
            annotation = function.__annotations__.get(name, _MISSING)
            if annotation is not _MISSING:
                found[name] = _evaluated(function, annotation, extras=name == question)
        except NameError as error:
            what = "what it returns" if name == "return" else f"its {name!r}"
            msg = f"{where}: the annotation of {what} cannot be read: {error}"
            raise ConfigurationError(msg) from None
    return found


def _evaluated(function: Callable[..., Any], annotation: Any, *, extras: bool) -> Any:
    """The type, which may be written as a text; with extras the limits of Annotated stay."""

    def bearer() -> None: ...

    bearer.__annotations__ = {"it": annotation}
    names = getattr(inspect.unwrap(function), "__globals__", {})
    return typing.get_type_hints(bearer, names, include_extras=extras)["it"]


def _is_stream(where: str, function: Callable[..., Any], returned: Any) -> bool:
    """Raises ConfigurationError if it yields and says otherwise, or something else than str."""
    if inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function):
        msg = f"{where} is async, and a worker calls it without a loop; {_HOW_TO_STREAM}"
        raise ConfigurationError(msg)
    origin = typing.get_origin(returned) or returned
    if origin not in _STREAMS:
        if inspect.isgeneratorfunction(function):
            msg = f"{where} yields and is annotated {returned!r:.60}; {_HOW_TO_STREAM}"
            raise ConfigurationError(msg)
        return False
    if typing.get_args(returned)[:1] != (str,):
        msg = f"{where} is annotated {returned!r:.60}; {_HOW_TO_STREAM}"
        raise ConfigurationError(msg)
    return True


def _item_type(where: str, annotation: Any) -> Any:
    """T of `questions: list[T]`."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = annotation.__origin__
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is not list or len(arguments) != 1:
        msg = f"{where} must be annotated list[...], not {annotation!r}; it returns a list, too"
        raise ConfigurationError(msg)
    return arguments[0]


def _readable(where: str, question_type: Any) -> Any:
    """The type, if JSON can be read as one; else each caller would be told that it is wrong."""
    try:
        reason = ""
        if isinstance(msgspec.inspect.type_info(question_type), msgspec.inspect.CustomType):
            reason = "; a dataclass, a TypedDict or a msgspec.Struct can"
    except TypeError as error:
        reason = f": {error}"
    if reason:
        msg = f"{where}: no question can be read as {question_type!r:.60}{reason}"
        raise ConfigurationError(msg)
    return question_type
