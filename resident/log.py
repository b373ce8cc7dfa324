"""One form for all log lines: ours, RQ's and the libraries'."""

from __future__ import annotations

import logging
import sys

import structlog

from resident.settings import Settings


def configure(settings: Settings) -> None:
    """Sends all log lines to standard error, as JSON unless that is a terminal."""
    level = settings.log_level.upper()
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(settings),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def _renderer(settings: Settings) -> structlog.typing.Processor:
    wants_json = settings.log_format == "json"
    if wants_json or (settings.log_format == "auto" and not sys.stderr.isatty()):
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
