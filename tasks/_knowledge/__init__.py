"""The knowledge file that the task faq answers from: its two forms, read and checked."""

from tasks._knowledge.file import read_knowledge
from tasks._knowledge.language import LANGUAGES, Language, language_of
from tasks._knowledge.wording import Knowledge, Phrase, Wording

__all__ = [
    "LANGUAGES",
    "Knowledge",
    "Language",
    "Phrase",
    "Wording",
    "language_of",
    "read_knowledge",
]
