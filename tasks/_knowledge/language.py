"""Chinese or English: the two languages that a knowledge file may speak."""

from __future__ import annotations

import re
from typing import Literal, get_args

Language = Literal["zh", "en"]

LANGUAGES: tuple[Language, ...] = get_args(Language)

#: Kana, ideographs with their extensions, CJK punctuation and full-width forms.
_CJK = re.compile(
    "[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
_WORD = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> Language:
    """What the asker writes: `WiFi密码` is Chinese, `what is a 发票` is not.

    A text without a letter (digits, an emoji) counts as Chinese: the channel is WeChat.
    """
    words = len(_WORD.findall(_CJK.sub(" ", text)))
    return "zh" if len(_CJK.findall(text)) >= words else "en"
