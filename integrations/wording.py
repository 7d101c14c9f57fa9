"""What a vendor or the network said, as a sentence without names of classes, pages and bodies; the text as it came is kept.

The rule here: nothing is lost. Where the sentence leaves something out, `raw` is the whole text as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, and the text as it came where the sentence does not hold all of it."""

    sentence: str
    raw: str = ""

    def __str__(self) -> str:
        return self.sentence


_CLASS = re.compile(r"\b[A-Z][A-Za-z]+(?:Error|Refused|Timeout|Exception|Address): ")
_ERRORS = re.compile(r"^(?:Unavailable|InDoubt|Rejected|Unauthorised|Malformed|ForbiddenAddress): ")
_BODY = re.compile(r"\s*(?:<[!a-zA-Z?/]|[{\[]\s*[\"'}\]\[{]).*", re.DOTALL)  # a page or JSON, to the end
_SENTENCES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"Told to wait: (\d+)"), lambda m: f"It told us to wait ({m[1]})"),
    (re.compile(r"Not taken: (\d+)"), lambda m: f"It did not take the call in time ({m[1]})"),
    (re.compile(r"Refused: (\d+)"), lambda m: f"It refuses our credentials ({m[1]})"),
    (
        re.compile(r"A page answered instead of the application: (\d+)"),
        lambda m: f"A web page answered instead of the application ({m[1]})",
    ),
    (re.compile(r"No usable answer: answer (\d+)"), lambda m: f"It answered with a fault of its own ({m[1]})"),
    (
        re.compile(r"No usable answer: unreadable answer (\d+)"),
        lambda m: f"It answered something that cannot be read ({m[1]})",
    ),
    (
        re.compile(r"May have been booked: (?:unreadable )?answer (\d+)"),
        lambda m: f"It may have been booked: the answer cannot be read ({m[1]})",
    ),
    (re.compile(r"^(\d{3})\b"), lambda m: f"It refused the call ({m[1]})"),
    (re.compile(r"Not reached: "), lambda _: "It cannot be reached: "),
    (re.compile(r"No complete answer: "), lambda _: "It gave no whole answer: "),
)


def in_words(text: str) -> Said:
    """What an error said, as a person reads it."""
    whole = text.strip()
    short = _CLASS.sub("", _ERRORS.sub("", _BODY.sub("", whole))).strip()
    for pattern, words in _SENTENCES:
        short = pattern.sub(words, short)
    short = short.rstrip(" (:,;.")
    if short.count("(") > short.count(")"):
        short += ")"
    sentence = f"{short[:1].upper()}{short[1:]}." if short else "It answered something that cannot be read."
    is_whole = _squeezed(sentence) == _squeezed(whole)
    return Said(sentence, "" if is_whole else whole)


def _squeezed(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
