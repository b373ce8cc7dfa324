"""Settings from the environment, and what is said when they are wrong."""

from __future__ import annotations

import os

import pytest

from resident.errors import ConfigurationError
from resident.leases import TICK_S
from resident.settings import Settings, read_settings
from resident.supervisor import LONGEST_LOOK_S


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("RESIDENT_")]:
        monkeypatch.delenv(name)


#: Each number with a range, as (name, least, most).
RANGES = [
    (
        name,
        next(rule.ge for rule in field.metadata if hasattr(rule, "ge")),
        next(rule.le for rule in field.metadata if hasattr(rule, "le")),
    )
    for name, field in Settings.model_fields.items()
    if field.annotation in (int, float)
]


def test_the_default_of_every_number_lies_in_its_range() -> None:
    defaults = read_settings()
    for name, least, most in RANGES:
        assert least <= getattr(defaults, name) <= most


@pytest.mark.parametrize(("name", "least", "most"), RANGES)
def test_both_ends_of_a_range_are_taken(
    name: str, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in (least, most):
        monkeypatch.setenv(f"RESIDENT_{name.upper()}", str(value))
        assert getattr(read_settings(), name) == value


@pytest.mark.parametrize(("name", "least", "most"), RANGES)
def test_a_number_out_of_its_range_is_told_with_the_range(
    name: str, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"RESIDENT_{name.upper()}"
    for value in (str(least - 1), str(most + 1), "many", "nan"):
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigurationError) as caught:
            read_settings()
        message = str(caught.value)
        assert message.startswith(f"{variable}={value!r}: ")
        assert message.endswith(f" (from {least} to {most})")
        assert "\n" not in message


@pytest.mark.parametrize("name", Settings.model_fields)
def test_what_is_empty_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"RESIDENT_{name.upper()}", "")
    assert read_settings() == Settings.model_construct()


def test_no_lease_ends_between_two_ticks_of_a_supervisor() -> None:
    least = {name: least for name, least, _ in RANGES}["lease_s"]
    assert least > TICK_S + LONGEST_LOOK_S


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORKERS", "LEASE_S", "LOG_LEVEL", "LOG_FORMAT", "REDIS_URL"):
        monkeypatch.setenv(f"RESIDENT_{name}", "oops")
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    faults = str(caught.value).split("; ")
    assert {fault.partition("=")[0] for fault in faults} == {
        "RESIDENT_WORKERS",
        "RESIDENT_LEASE_S",
        "RESIDENT_LOG_LEVEL",
        "RESIDENT_LOG_FORMAT",
        "RESIDENT_REDIS_URL",
    }


@pytest.mark.parametrize("url", ["http://:s3cret@host", ":s3cret@host", "s3cret", "host:6379"])
def test_a_redis_url_of_another_kind_is_a_fault_that_keeps_the_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIDENT_REDIS_URL", url)
    with pytest.raises(ConfigurationError, match="redis://, rediss://, unix://") as caught:
        read_settings()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://:s3cret@h/0", "rediss://h", "unix:///x.sock?db=1"])
def test_the_redis_url_is_never_shown_by_accident(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIDENT_REDIS_URL", url)
    settings = read_settings()
    assert settings.redis_url.get_secret_value() == url
    assert url not in f"{settings!r} {settings}"


def test_a_redis_url_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    default = read_settings().redis_url
    monkeypatch.setenv("RESIDENT_REDIS_URL", "")
    settings = read_settings()
    assert settings.redis_url == default
    assert "redis_url" not in settings.model_fields_set


def test_words_may_be_written_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDENT_LOG_LEVEL", "WARNING")
    monkeypatch.setenv("RESIDENT_LOG_FORMAT", "JSON")
    settings = read_settings()
    assert (settings.log_level, settings.log_format) == ("warning", "json")


def test_settings_do_not_change_once_they_are_made() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().workers = 3


def test_a_tasks_own_settings_are_not_ours_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDENT_FAQ_FILE", "/elsewhere.yaml")
    read_settings()


@pytest.mark.parametrize(
    "keys",
    [
        "hunter2",
        "k" * 15,
        "k" * 16 + ",",
        "k" * 15 + "!",
        "k" * 8 + " " + "k" * 8,
        "k" * 15 + "=",
        "k" * 257,
    ],
)
def test_what_is_no_key_is_told_without_it(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDENT_HTTP_KEYS", keys)
    with pytest.raises(ConfigurationError, match="16 to 256 letters") as caught:
        read_settings()
    assert str(caught.value).startswith("RESIDENT_HTTP_KEYS=(not shown): ")
    assert keys not in str(caught.value)


def test_each_of_several_keys_is_read_and_none_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDENT_HTTP_KEYS", "abcdefghijklmnop, QRSTUVWXYZ._~+/-012==")
    settings = read_settings()
    keys = [key.get_secret_value() for key in settings.http_keys]
    assert keys == ["abcdefghijklmnop", "QRSTUVWXYZ._~+/-012=="]
    assert not any(key in repr(settings) for key in keys)
