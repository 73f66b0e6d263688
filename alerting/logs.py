"""Log lines on stderr, as text or JSON, without secrets."""

from __future__ import annotations

import functools
import json
import logging
import sys
from datetime import UTC, datetime

from alerting import streams
from alerting.redaction import RedactingFilter, visible
from alerting.units import rfc3339

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": visible(record.getMessage()),
        }
        if record.exc_text:
            entry["error"] = "\n".join(map(visible, record.exc_text.splitlines()))
        return json.dumps(entry, ensure_ascii=False)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # a text from outside can neither speak to the terminal nor forge a line
        line = f"{_at(record)} {record.levelname.lower():7} {visible(record.getMessage())}"
        trace = [visible(each) for each in (record.exc_text or "").splitlines()]
        return "\n".join([line, *trace])


def set_up(level: str, form: str) -> None:
    """Send all loggers to stderr; every handler masks secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    streams.word_loss(functools.partial(_loss, handler))
    for noisy in ("urllib3", "apprise", "markdown", "charset_normalizer"):
        # what failed is in our own lines
        logging.getLogger(noisy).setLevel(logging.NOTSET if level == "debug" else logging.CRITICAL)


def _loss(handler: logging.Handler, lines: int) -> str:
    """A line of the log about lines that nobody read; without the handler's lock."""
    text = "%d lines of the log were dropped here: nobody read them"
    record = logging.LogRecord("alerting", logging.WARNING, __file__, 0, text, (lines,), None)
    return f"{handler.format(record)}\n"


def _at(record: logging.LogRecord) -> str:
    instant = datetime.fromtimestamp(record.created, UTC)
    return rfc3339(instant.replace(microsecond=instant.microsecond // 1000 * 1000))
