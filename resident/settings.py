"""All settings, read once at the entry point from RESIDENT_* variables and handed down.

A task's own settings (RESIDENT_FAQ_FILE) stand in its file.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from resident import names
from resident.errors import ConfigurationError

#: Processes of one task.
MOST_WORKERS = 256
#: A budget is at most a day; RQ's job timeouts and Redis' TTLs mean nothing beyond.
LONGEST_BUDGET_MS = 86_400_000
_SCHEMES = ("redis://", "rediss://", "unix://")
#: As RFC 6750 has what follows `Bearer`.
_HTTP_KEY = re.compile(r"[A-Za-z0-9._~+/-]{16,256}={0,2}")
#: A fault does not quote these.
_SECRETS = {"redis_url", "http_keys"}


def _check_redis_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(_SCHEMES):
        msg = f"must start with one of {', '.join(_SCHEMES)}"
        raise ValueError(msg)
    return value


def _keys_in(value: object) -> object:
    return tuple(one.strip() for one in value.split(",")) if isinstance(value, str) else value


def _check_http_key(value: SecretStr) -> SecretStr:
    if not _HTTP_KEY.fullmatch(value.get_secret_value()):
        msg = (
            "a key has 16 to 256 letters, digits and any of . _ ~ + / - (up to two = at its end), "
            "and between two stands a comma"
        )
        raise ValueError(msg)
    return value


class Settings(BaseSettings):
    """What an operator may set; every number has a range."""

    # What is empty is not set: so the shell scripts have it, so php-fpm passes on what it lacks.
    model_config = SettingsConfigDict(
        env_prefix="RESIDENT_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    redis_url: Annotated[SecretStr, AfterValidator(_check_redis_url)] = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis: redis://[user:password@]host:port/db, rediss:// for TLS, unix:///path",
    )
    workers: int = Field(1, ge=1, le=MOST_WORKERS, description="worker processes of each task")
    budget_ms: int = Field(
        5_000,
        ge=1,
        le=LONGEST_BUDGET_MS,
        description="how long a caller waits unless it says otherwise",
    )
    result_ttl: int = Field(
        500,
        ge=-1,
        le=31_536_000,
        description="seconds RQ keeps a finished job; 0 none, -1 for ever",
    )
    failure_ttl: int = Field(
        604_800,
        ge=-1,
        le=31_536_000,
        description="seconds RQ keeps a failed question; 0 none, -1 for ever",
    )
    reply_ttl_s: float = Field(60.0, ge=1, le=86_400, description="seconds an unread reply is kept")
    # A supervisor renews leases every 1 to 1.5 s; one that is shorter ends in between.
    lease_s: float = Field(
        15.0, ge=2, le=3_600, description="seconds a worker may hold a job without a sign of life"
    )
    drain_timeout_s: float = Field(
        30.0, ge=0.1, le=3_600, description="seconds a stopping worker may finish what it claimed"
    )
    load_timeout_s: float = Field(
        600.0, ge=1, le=86_400, description="seconds that loading and warming up may take"
    )
    recycle_rss_mb: int = Field(
        0, ge=0, le=1_048_576, description="a worker with more memory than this is replaced; 0 none"
    )
    recycle_jobs: int = Field(
        0, ge=0, le=1_000_000_000, description="a worker that ended so many is replaced; 0 none"
    )
    ready_file: str = Field("", description="a file that is there while worker.py is ready")
    max_question_bytes: int = Field(
        262_144, ge=64, le=16_777_216, description="the longest question, in bytes of JSON"
    )
    max_backlog: int = Field(
        10_000, ge=1, le=10_000_000, description="waiting questions before callers are refused"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)
    ] = "info"
    log_format: Annotated[Literal["auto", "json", "console"], BeforeValidator(str.lower)] = Field(
        "auto", description="auto: JSON unless standard error is a terminal"
    )
    http_host: str = Field("127.0.0.1", description="address that `enqueue_api serve` binds")
    http_port: int = Field(8000, ge=0, le=65_535, description="its port")
    http_task: str = Field(
        "faq", pattern=f"^{names.TASK.pattern}$", description="the task that answers /deal"
    )
    http_concurrency: int = Field(
        64, ge=1, le=4_096, description="questions in flight over HTTP before callers are refused"
    )
    http_keys: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_check_http_key)], ...],
        NoDecode,
        BeforeValidator(_keys_in),
    ] = Field((), description="keys of callers over HTTP, with commas between; none: anybody asks")


def read_settings() -> Settings:
    """The settings of this process.

    Raises:
        ConfigurationError: Some are wrong; one line names each variable, its value and its range.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        faults = dict.fromkeys(_fault(error) for error in invalid.errors())
        raise ConfigurationError("; ".join(faults)) from None


def _fault(error: object) -> str:
    assert isinstance(error, dict)  # noqa: S101  (pydantic's ErrorDetails)
    name = str(error["loc"][0])
    value = "(not shown)" if name in _SECRETS else repr(error["input"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"RESIDENT_{name.upper()}={value}: {message[:1].lower()}{message[1:]}{_range(name)}"


def _range(name: str) -> str:
    bounds = {
        kind: getattr(rule, kind)
        for rule in Settings.model_fields[name].metadata
        for kind in ("ge", "le")
        if hasattr(rule, kind)
    }
    return f" (from {bounds['ge']} to {bounds['le']})" if bounds else ""
