"""How Tieout writes its log: one event a line, JSON in production, and no secret in any of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

SECRET_NAMES = re.compile(
    r"authorization|cookie|password|passwd|secret|token|signature|api[_-]?key|private[_-]?key|credential|session[_-]?id",
    re.IGNORECASE,
)
SECRET_TEXT = re.compile(
    r"(?i)(?P<lead>\b(?:bearer|basic|oauth)\s+|\b(?:token|password|secret|api_key|signature)=|://[^/\s:@]+:)[^\s&,\"'@]+"
)
HIDDEN = "[hidden]"
DEPTH = 6


def hide(value: Any, depth: int = 0) -> Any:
    """The value without what looks like a secret, by name of the field or by shape of the text; controls escaped."""
    if depth > DEPTH:
        return "…"
    if isinstance(value, str):
        return SECRET_TEXT.sub(lambda found: found["lead"] + HIDDEN, value)
    if isinstance(value, Mapping):
        return {key: HIDDEN if SECRET_NAMES.search(str(key)) else hide(item, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [hide(item, depth + 1) for item in value]
    return value


def redact(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """Hide secrets in every field of one event."""
    return {
        key: HIDDEN if SECRET_NAMES.search(key) else value if key.startswith("_") else hide(value)
        for key, value in event.items()
    }


def one_line(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """A log line cannot be forged: line breaks and escape codes inside a message are shown, not obeyed."""
    event["event"] = re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], str(event.get("event", "")))
    return event


SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def configuration(*, readable: bool, level: str) -> dict[str, Any]:
    """Django's LOGGING: readable lines for a trial, JSON otherwise."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderers: list[Processor] = (
        [
            redact,
            one_line,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
        if readable
        else [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "events": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": SHARED,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            }
        },
        "handlers": {"events": {"class": "logging.StreamHandler", "formatter": "events"}},
        "root": {"handlers": ["events"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            "celery": {"level": "WARNING"},
            "kombu": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
        },
    }
