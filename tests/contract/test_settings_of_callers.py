"""Callers' settings, which PHP's client reads too and refuses in the same words."""

from __future__ import annotations

import os
from typing import Any

import pytest

from resident.errors import ConfigurationError
from resident.settings import read_settings
from tests.support.vectors import read

VECTORS = read("settings")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("RESIDENT_")]:
        monkeypatch.delenv(name)


def variable(case: dict[str, Any]) -> str:
    return f"RESIDENT_{case['setting'].upper()}"


@pytest.mark.parametrize("case", VECTORS["defaults"], ids=variable)
def test_the_default(case: dict[str, Any]) -> None:
    assert getattr(read_settings(), case["setting"]) == case["value"]


@pytest.mark.parametrize("case", VECTORS["taken"], ids=lambda case: case["name"])
def test_what_is_taken(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(case), case["text"])
    assert getattr(read_settings(), case["setting"]) == case["value"]


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["name"])
def test_what_is_refused(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(case), case["text"])
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    assert str(caught.value) == case["message"]
