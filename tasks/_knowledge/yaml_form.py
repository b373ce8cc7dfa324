"""The YAML form of a knowledge file; tasks/faq.yaml describes and is one.

The text is only composed into nodes, which know their lines, and never constructed into objects.
"""

from __future__ import annotations

from typing import NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tasks._knowledge.language import LANGUAGES, Language
from tasks._knowledge.wording import (
    Fault,
    Knowledge,
    Phrase,
    Wording,
    checked_answer,
    checked_text,
    quoted,
)

_TEXT_TAG = "tag:yaml.org,2002:str"
_KINDS = {
    "tag:yaml.org,2002:null": "empty",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:timestamp": "a date",
    "tag:yaml.org,2002:seq": "a list",
    "tag:yaml.org,2002:map": "a mapping",
    _TEXT_TAG: "a text",
}


def parse_yaml(text: str) -> Knowledge:
    """Reads the YAML form.

    Raises:
        Fault: Something is wrong, with its line.
    """
    root = _compose(text)
    if root is None:
        raise Fault(0, "the file is empty; it needs `entries:`")
    parts = _mapping(root, "the file", ("fallback", "off_topic", "entries"))
    if "entries" not in parts:
        raise Fault(_line(root), "the file has no `entries:`; write at least one entry")
    fallbacks = _fallbacks(parts["fallback"]) if "fallback" in parts else {}
    wordings = [
        wording for entry in _items(parts["entries"], "`entries`") for wording in _entry(entry)
    ]
    if not wordings:
        raise Fault(_line(parts["entries"]), "`entries` is empty; write at least one entry")
    off_topic = _off_topic(parts["off_topic"]) if "off_topic" in parts else ()
    return Knowledge(tuple(wordings), fallbacks, off_topic)


def _compose(text: str) -> Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        _broken(error.problem_mark.line + 1 if error.problem_mark else 0, str(error.problem))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        _broken(line, f"the character U+{ord(text[error.position]):04X} is not allowed")
    except RecursionError:
        _broken(0, "lists or mappings are nested too deeply")
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF"
        _broken(0, str(error))


def _broken(line: int, problem: str) -> NoReturn:
    message = f"this is not YAML: {problem}; mind the indentation, and quote texts with `: ` or `#`"
    raise Fault(line, message) from None


def _fallbacks(node: Node) -> dict[Language, str]:
    parts = _mapping(node, "`fallback`", LANGUAGES)
    return {
        language: checked_answer(_line(parts[language]), what, _text(parts[language], what))
        for language in LANGUAGES
        if language in parts
        for what in [f"the {language} fallback"]
    }


def _off_topic(node: Node) -> tuple[Phrase, ...]:
    parts = _mapping(node, "`off_topic`", LANGUAGES)
    return tuple(
        _phrase(sample, "the sample")
        for language in LANGUAGES
        if language in parts
        for sample in _items(parts[language], f"`{language}`")
    )


def _entry(node: Node) -> list[Wording]:
    parts = _mapping(node, "an entry", LANGUAGES)
    if not parts:
        raise Fault(_line(node), "the entry has neither `zh:` nor `en:`; write one, or remove it")
    return [_wording(language, parts[language]) for language in LANGUAGES if language in parts]


def _wording(language: Language, node: Node) -> Wording:
    parts = _mapping(node, f"`{language}`", ("question", "aliases", "answer"))
    for name in ("question", "answer"):
        if name not in parts:
            raise Fault(_line(node), f"the {language} entry has no `{name}:`; write one")
    aliases = _items(parts["aliases"], "`aliases`") if "aliases" in parts else []
    return Wording(
        language,
        phrases=(
            _phrase(parts["question"], "the question"),
            *(_phrase(alias, "the alias") for alias in aliases),
        ),
        answer=checked_answer(
            _line(parts["answer"]), "the answer", _text(parts["answer"], "the answer")
        ),
    )


def _phrase(node: Node, what: str) -> Phrase:
    return Phrase(checked_text(_line(node), what, _text(node, what)), _line(node))


def _mapping(node: Node, what: str, names: tuple[str, ...]) -> dict[str, Node]:
    """The parts of a mapping that may have these names and no others."""
    wanted = " or ".join(f"`{name}:`" for name in names)
    if not isinstance(node, MappingNode):
        raise Fault(_line(node), f"{what} must be a mapping with {wanted}, but is {_kind(node)}")
    parts: dict[str, Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, ScalarNode) else ""
        if name not in names:
            found = quoted(name) if name else _kind(key)
            raise Fault(_line(key), f"{what} may have {wanted}, not {found}; rename or remove it")
        if name in parts:
            raise Fault(_line(key), f"{what} has `{name}:` twice; remove one of the two")
        parts[name] = value
    return parts


def _items(node: Node, what: str) -> list[Node]:
    if not isinstance(node, SequenceNode):
        message = f"{what} must be a list, each line with a dash, but is {_kind(node)}"
        raise Fault(_line(node), message)
    return list(node.value)


def _text(node: Node, what: str) -> str:
    if not isinstance(node, ScalarNode):
        raise Fault(_line(node), f"{what} must be a text, but is {_kind(node)}")
    if node.tag == "tag:yaml.org,2002:null":
        return ""
    if node.tag != _TEXT_TAG:
        message = f"{what} must be a text, but {quoted(node.value)} is {_kind(node)}"
        raise Fault(_line(node), f"{message}; put it in quotes")
    return str(node.value)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _kind(node: Node) -> str:
    return _KINDS.get(node.tag, f"tagged {quoted(node.tag)}")
