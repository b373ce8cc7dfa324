"""Which functions are tasks, which of them stream, and what the others are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

from resident.errors import ConfigurationError
from resident.signatures import Signature, read_signature


def in_batches(model: Any, questions: list[int]) -> list[str]:
    return []


def unannotated(model, questions):  # type: ignore[no-untyped-def]
    return questions


def iterator(model: Any, question: int) -> Iterator[str]:
    yield ""


def generator(model: Any, question: list[str]) -> Generator[str, None, None]:
    yield ""


def iterable(model: Any, question) -> Iterable[str]:  # type: ignore[no-untyped-def]
    return model


def numbers(model: Any, question: str) -> Iterator[int]:
    yield 1


def bare(model: Any, question: str) -> Iterator:  # type: ignore[type-arg]
    yield ""


def says_nothing(model: Any, question: str):  # type: ignore[no-untyped-def]
    yield ""


def says_list(model: Any, questions: list[str]) -> list[str]:
    yield ""  # type: ignore[misc]


def many(model: Any, questions: list[str]) -> Iterator[str]:
    yield from questions


async def async_stream(model: Any, question: str) -> AsyncIterator[str]:
    yield ""


async def async_batch(model: Any, questions: list[str]) -> list[str]:
    return questions


class Plain:
    """Nothing that msgspec knows, as a class of pydantic is none."""


def plain(model: Any, questions: list[Plain]) -> list[str]:
    return []


def plain_stream(model: Any, question: Plain) -> Iterator[str]:
    yield ""


def two_arrays(model: Any, questions: list[set[int] | list[int]]) -> list[int]:
    return []


def by_name(model: Any, *, questions: list[str]) -> list[str]:
    return questions


def any_number(model: Any, *questions: list[str]) -> list[Any]:
    return list(questions)


def three(model: Any, question: str, more: str) -> Iterator[str]:
    yield ""


if TYPE_CHECKING:
    import numpy as np

Short = Annotated[str, msgspec.Meta(max_length=3)]


def unknown_model(model: np.ndarray, questions: list[int]) -> list[str]:
    return []


def unknown_question(model: Any, questions: list[np.ndarray]) -> list[str]:
    return []


def unknown_answer(model: Any, questions: list[int]) -> list[np.ndarray]:
    return []


def limited(model: Any, questions: Annotated[list[Short], "few"]) -> Annotated[list[str], "all"]:
    return []


def limited_stream(model: Any, question: Short) -> Iterator[Annotated[str, "a part"]]:
    yield ""


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (in_batches, Signature(int, streams=False)),
        (unannotated, Signature(Any, streams=False)),
        (iterator, Signature(int, streams=True)),
        (generator, Signature(list[str], streams=True)),
        (iterable, Signature(Any, streams=True)),
        (unknown_model, Signature(int, streams=False)),
        (limited, Signature(Short, streams=False)),
        (limited_stream, Signature(Short, streams=True)),
    ],
)
def test_a_function_that_is_annotated_to_yield_str_streams(
    function: Callable[..., Any], signature: Signature
) -> None:
    assert read_signature(function) == signature


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (
            numbers,
            r"annotated collections.abc.Iterator\[int\]; a task that yields .* Iterator\[str\]",
        ),
        (unknown_question, "annotation of its 'questions' cannot be read: name 'np' is not"),
        (unknown_answer, "annotation of what it returns cannot be read: name 'np' is not"),
        (bare, r"a task that yields is annotated -> Iterator\[str\]"),
        (says_nothing, "yields and is annotated None; a task that yields"),
        (says_list, r"yields and is annotated list\[str\]; a task that yields"),
        (many, "one question a call: name its parameter `question`"),
        (async_stream, "is async"),
        (async_batch, "is async"),
        (three, "it has 3"),
        (
            plain,
            "no question can be read as .*Plain.*; a dataclass, a TypedDict or a msgspec.Struct",
        ),
        (plain_stream, "no question can be read as .*Plain"),
        (two_arrays, r"no question can be read as set\[int\] \| list\[int\]: Type unions may not"),
        (by_name, r"gets its 'questions' by place: leave out the \* before it"),
        (any_number, r"gets its 'questions' by place: leave out the \* before it"),
    ],
)
def test_what_is_wrong_with_a_signature_is_told_in_one_sentence(
    function: Callable[..., Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        read_signature(function)
    assert "\n" not in str(caught.value)
