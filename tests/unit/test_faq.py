"""The task faq without its model: reading the knowledge file, and choosing an answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resident.errors import ConfigurationError
from tasks import faq
from tasks._knowledge import Knowledge, Phrase, Wording, language_of, read_knowledge
from tasks._knowledge.file import MAX_FILE_BYTES

answer = faq.answer.__wrapped__

GOOD_YAML = """\
fallback: {zh: 不知道, en: No idea}
entries:
  - zh:
      question: 几点开门
      aliases: [营业时间]
      answer: 十点
    en:
      question: When do you open?
      answer: At ten
"""
GOOD_CSV = """\
question,answer,aliases,language
几点开门,十点,营业时间|几点关门,zh
When do you open?,"At ten,
every day",,
*,不知道,天气,zh
"""


class LetterEncoder:
    """Counts letters: texts are near each other when they share them. Keeps what it was given."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.calls.append(texts)
        vectors = np.zeros((len(texts), 512), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for letter in text.casefold():
                vector[ord(letter) % 512] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str | bytes, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def fault_of(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_knowledge(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def wording(language: str, question: str, reply: str) -> Wording:
    return Wording(language, (Phrase(question, 1),), reply)


def index_of(*wordings: Wording, off_topic: tuple[str, ...] = (), threshold: float = 0.4):
    knowledge = Knowledge(
        wordings,
        {"zh": "不知道", "en": "No idea"},
        tuple(Phrase(text, 1) for text in off_topic),
    )
    return faq.build_index(knowledge, LetterEncoder(), threshold)


def test_a_yaml_file_is_read_with_the_line_of_each_phrase(write):
    knowledge = read_knowledge(write(GOOD_YAML))
    assert knowledge.fallbacks == {"zh": "不知道", "en": "No idea"}
    assert knowledge.wordings == (
        Wording("zh", (Phrase("几点开门", 4), Phrase("营业时间", 5)), "十点"),
        Wording("en", (Phrase("When do you open?", 8),), "At ten"),
    )


def test_a_csv_file_is_read_and_a_missing_language_is_seen_from_the_question(write):
    knowledge = read_knowledge(write(GOOD_CSV, "mine.csv"))
    assert knowledge.fallbacks == {"zh": "不知道"}
    assert knowledge.off_topic == (Phrase("天气", 5),)
    assert knowledge.wordings == (
        Wording(
            "zh", (Phrase("几点开门", 2), Phrase("营业时间", 2), Phrase("几点关门", 2)), "十点"
        ),
        Wording("en", (Phrase("When do you open?", 3),), "At ten,\nevery day"),
    )


def test_a_csv_file_saved_by_a_spreadsheet_on_windows_is_read(write):
    content = b"\xef\xbb\xbf" + "Question,Answer\r\n几点开门,十点\r\n,\r\n".encode()
    knowledge = read_knowledge(write(content, "MINE.CSV"))
    assert knowledge.wordings == (Wording("zh", (Phrase("几点开门", 2),), "十点"),)


def test_off_topic_samples_of_a_yaml_file_are_read(write):
    knowledge = read_knowledge(write(GOOD_YAML + "off_topic:\n  zh: [天气]\n  en: [weather]\n"))
    assert knowledge.off_topic == (Phrase("天气", 11), Phrase("weather", 12))


HEAD = "entries:\n"
ZH = "  - zh: {question: 几点开门, answer: 十点}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": the file is empty"),
        ("# only this\n", ": the file is empty"),
        ("- a\n", ", line 1: the file must be a mapping"),
        ("fallback: {zh: 不知道}\n", ", line 1: the file has no `entries:`"),
        ("entries: []\n", ", line 1: `entries` is empty"),
        ("entries:\n", ", line 1: `entries` must be a list, each line with a dash, but is empty"),
        ("entries: 3\n", "but is a number"),
        (HEAD + ZH + "  - zh: [\n", ", line 4: this is not YAML"),
        (HEAD + ZH + "\t- a\n", ", line 3: this is not YAML"),
        (HEAD + ZH + "---\n" + HEAD, ", line 3: this is not YAML"),
        (HEAD + "  - zh: *nobody\n", ", line 2: this is not YAML"),
        (HEAD + ZH + "# \x07\n", ", line 3: this is not YAML: the character U+0007"),
        ("entries: " + "[" * 1000, ": this is not YAML: lists or mappings are nested too deeply"),
        (HEAD + '  - zh: {question: "\\UFFFFFFFF", answer: b}\n', ": this is not YAML"),
        (HEAD + ZH + "  - 几点\n", ", line 3: an entry must be a mapping"),
        (HEAD + ZH + "  - {}\n", ", line 3: the entry has neither `zh:` nor `en:`"),
        (HEAD + ZH + "  - de: {}\n", ", line 3: an entry may have `zh:` or `en:`, not 'de'"),
        (HEAD + "  - zh: {answer: a}\n", ", line 2: the zh entry has no `question:`"),
        (HEAD + "  - en:\n      question: a\n", ", line 3: the en entry has no `answer:`"),
        (HEAD + "  - en:\n      question:\n      answer: a\n", ", line 3: the question is empty"),
        (HEAD + "  - en: {question: a, answer: ' '}\n", ", line 2: the answer is empty"),
        (HEAD + "  - en: {question: 7, answer: a}\n", "'7' is a number; put it in quotes"),
        (HEAD + "  - en: {question: a, answer: yes}\n", "'yes' is true or false"),
        (HEAD + "  - en: {question: a, answer: [b]}\n", "the answer must be a text, but is a list"),
        (HEAD + "  - en: {question: a, answer: b, aliases: c}\n", "must be a list"),
        (
            HEAD + "  - en:\n      question: a\n      question: b\n",
            ", line 4: `en` has `question:`",
        ),
        (HEAD + "  - en: {question: a, answer: b, anwser: c}\n", "not 'anwser'; rename or remove"),
        (HEAD + "  - en: {question: a, answer: b, ? [c] : d}\n", "not a list"),
        (HEAD + "  - en: {question: a, answer: !!python/name:os.system x}\n", "tagged"),
        (HEAD + '  - en: {question: "\\ud83d", answer: b}\n', "has half a character"),
        (HEAD + ZH + ZH, ", line 3: '几点开门' stands on line 2 already"),
        (
            HEAD + "  - en: {question: A b, answer: c, aliases: [a  B]}\n",
            "stands on line 2 already",
        ),
        (HEAD + f"  - en: {{question: a, answer: {'长' * 683}}}\n", "2,049 bytes in UTF-8, WeChat"),
        ("fallback: {zh: []}\n" + HEAD + ZH, ", line 1: the zh fallback must be a text"),
        ("off_topic: {zh: 天气}\n" + HEAD + ZH, ", line 1: `zh` must be a list"),
    ],
)
def test_what_is_wrong_in_a_yaml_file_is_told_in_one_line(write, content, message):
    assert message in fault_of(write(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": the file is empty; its first line must be question,answer"),
        ("question,answer\n", ": the file has a header and no entries"),
        ("question,aliases\na,b\n", ", line 1: the column answer is missing"),
        ("question;answer\na;b\n", "no column 'question;answer'"),
        ("question,answer,alias\na,b,c\n", ", line 1: there is no column 'alias'"),
        ("question,answer,answer\na,b,c\n", ", line 1: the column answer stands twice"),
        ("question,answer\na,b\nc\n", ", line 3: the row has 1 cells, the header 2"),
        ("question,answer\na,b,c\n", ", line 2: the row has 3 cells, the header 2"),
        ("question,answer\n,b\n", ", line 2: the question is empty"),
        ('question,answer\n"a\nb",c\nd,\n', ", line 4: the answer is empty"),
        ('question,answer\na,"b\n', ", line 2: this is not CSV"),
        ('question,answer\na,"b"c\n', ", line 2: this is not CSV"),
        (f"question,answer\na,{'b' * 140_000}\n", ", line 2: this is not CSV"),
        ("question,answer,language\na,b,fr\n", ", line 2: the language is 'fr'; write zh or en"),
        ("question,answer\na,b\nA,c\n", ", line 3: 'A' stands on line 2 already"),
        ("question,answer\na,b\n*,c\n*,d\n", ", line 4: there is a en fallback already"),
        ("question,answer\n*,c\n", ": the file has a header and no entries"),
    ],
)
def test_what_is_wrong_in_a_csv_file_is_told_in_one_line(write, content, message):
    assert message in fault_of(write(content, "mine.csv"))


def test_a_file_that_is_not_there_is_told_as_such(tmp_path):
    assert fault_of(tmp_path / "none.yaml").startswith(": there is no such file")


def test_a_folder_is_no_knowledge_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    assert "not a regular file" in fault_of(tmp_path / "folder.csv")


def test_a_path_that_the_system_refuses_is_told_in_one_line(tmp_path):
    assert "cannot be read" in fault_of(tmp_path / f"{'a' * 300}.yaml")


def test_the_extension_must_be_one_of_the_two_forms(write):
    assert "must end in .yaml, .yml, .csv" in fault_of(write(GOOD_YAML, "mine.txt"))


@pytest.mark.parametrize("name", ["mine.yaml", "mine.csv"])
def test_a_file_in_another_encoding_is_told_with_its_line(write, name):
    content = b"question,answer\n" + "几点开门,十点\n".encode("gbk")
    assert fault_of(write(content, name)).startswith(", line 2: this is not UTF-8")


def test_a_file_that_is_far_too_large_is_not_parsed(write):
    assert "larger than 2,000,000 bytes" in fault_of(write(b"#" * (MAX_FILE_BYTES + 1)))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("几点开门？", "zh"),
        ("WiFi密码是多少", "zh"),
        ("幾點開門", "zh"),
        ("When do you open?", "en"),
        ("What is a 发票?", "en"),
        ("Où êtes-vous ?", "en"),
        ("123", "zh"),
    ],
)
def test_the_askers_language_is_seen_from_the_question(text, language):
    assert language_of(text) == language


def test_a_question_is_answered_in_the_askers_language():
    index = index_of(
        wording("zh", "wifi密码", "在收银台"), wording("en", "wifi key", "At the till")
    )
    assert answer(index, ["wifi密码?", "wifi key?"]) == ["在收银台", "At the till"]


def test_the_nearest_entry_of_the_askers_language_wins_over_a_nearer_one_of_the_other():
    index = index_of(wording("en", "wifi 码", "At the till"), wording("zh", "wifi", "在收银台"))
    assert answer(index, ["wifi 码"]) == ["在收银台"]


def test_askers_search_all_entries_when_the_file_has_none_in_their_language():
    index = index_of(wording("zh", "wifi", "在收银台"), wording("zh", "停车", "地下"))
    assert answer(index, ["wifi please"]) == ["在收银台"]


def test_what_is_not_in_the_file_gets_the_fallback_in_the_askers_language():
    index = index_of(wording("zh", "停车", "地下"), wording("en", "wifi", "At the till"))
    assert answer(index, ["天气", "bonsoo"]) == ["不知道", "No idea"]


def test_what_is_nearer_to_an_off_topic_sample_gets_the_fallback():
    entry = wording("en", "what time do you open", "At ten")
    assert answer(index_of(entry), ["what time is it"]) == ["At ten"]
    assert answer(index_of(entry, off_topic=("what time is it now",)), ["what time is it"]) == [
        "No idea"
    ]


def test_questions_without_a_letter_get_the_fallback_without_a_run_of_the_model():
    index = index_of(wording("zh", "停车", "地下"))
    index.encode.calls.clear()
    assert answer(index, ["", "  \n", "？？？", "👍", "\ud83d"]) == ["不知道"] * 5
    assert index.encode.calls == []


def test_a_batch_is_one_call_of_the_model_and_keeps_its_order():
    index = index_of(wording("zh", "停车", "地下"), wording("en", "wifi", "At the till"))
    index.encode.calls.clear()
    assert answer(index, ["wifi", " ", "停车"]) == ["At the till", "不知道", "地下"]
    assert index.encode.calls == [["wifi", "停车"]]


def test_the_model_sees_256_characters_and_no_half_ones():
    index = index_of(wording("en", "wifi", "At the till"))
    index.encode.calls.clear()
    answer(index, ["x" * 5000, "wifi\ud83d"])
    assert index.encode.calls == [["x" * 256, "wifi?"]]


def test_a_file_without_a_fallback_has_the_built_in_one():
    index = faq.build_index(Knowledge((wording("zh", "停车", "地下"),), {}), LetterEncoder(), 0.4)
    assert answer(index, ["", "hello"])[0].startswith("抱歉")
    assert answer(index, ["zzz"])[0].startswith("Sorry")


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "high"])
def test_a_wrong_threshold_is_told_with_its_variable_value_and_range(monkeypatch, value):
    monkeypatch.setenv("RESIDENT_FAQ_THRESHOLD", value)
    told = rf"RESIDENT_FAQ_THRESHOLD='{value}': input .*\(from 0 to 1\)$"
    with pytest.raises(ConfigurationError, match=told):
        faq.load()


def test_the_file_named_by_the_setting_is_the_one_that_is_read(monkeypatch, write):
    monkeypatch.setenv("RESIDENT_FAQ_FILE", str(write("entries: 3\n")))
    with pytest.raises(ConfigurationError, match=r"mine\.yaml, line 1: `entries` must be a list"):
        faq.load()


def test_an_empty_setting_means_the_file_that_comes_with_the_task(monkeypatch):
    monkeypatch.setenv("RESIDENT_FAQ_FILE", "")
    assert faq.read_settings().file.name == "faq.yaml"
