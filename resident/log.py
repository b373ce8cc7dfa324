"""One form for all log lines: ours, RQ's and the libraries'."""

from __future__ import annotations

import logging
import sys

import structlog

from resident.redis_client import said, unquoted
from resident.settings import Settings

#: RQ logs the names that a job holds, which anybody may have written.
_LONGEST_LINE = 400


class _WithoutTexts(logging.Filter):
    """Cuts from RQ's lines what may hold a question.

    That is results, which it logs on debug, and tracebacks; RQ keeps both under the job's id.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written at all."""
        if record.name.partition(".")[0] != "rq":
            return True
        if "could not connect to Redis" in str(record.msg):
            return False  # every 2 s, by the thread that listens; resident/outage.py says it once
        kind = record.exc_info[0] if record.exc_info else None
        first_line = record.getMessage().partition("\n")[0][:_LONGEST_LINE]
        record.msg = f"{first_line} ({kind.__name__})" if kind else first_line
        record.args = record.exc_info = record.exc_text = None
        return record.levelno > logging.DEBUG


def _without_quotations(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Cuts what Redis quotes of a command that it does not know: a password, say."""
    fault = line.get("exc_info")
    error = fault[1] if isinstance(fault, tuple) else sys.exception() if fault else None
    if error is not None:
        said(error)
    return {name: unquoted(it) if isinstance(it, str) else it for name, it in line.items()}


def configure(settings: Settings) -> None:
    """Sends all log lines to standard error, as JSON unless that is a terminal."""
    level = settings.log_level.upper()
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_quotations,
    ]
    if isinstance(renderer := _renderer(settings), structlog.processors.JSONRenderer):
        shared.append(structlog.processors.format_exc_info)
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
                renderer,
            ],
        )
    )
    handler.addFilter(_WithoutTexts())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def _renderer(settings: Settings) -> structlog.typing.Processor:
    wants_json = settings.log_format == "json"
    if wants_json or (settings.log_format == "auto" and not sys.stderr.isatty()):
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        exception_formatter=structlog.dev.plain_traceback,  # rich, if installed, shows variables
    )
