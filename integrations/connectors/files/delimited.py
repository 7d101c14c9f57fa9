"""CSV: bytes to rows of text.

The delimiter is the one under which the expected headings appear; encodings are tried strictly, so letters are never
replaced silently.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from functools import lru_cache

from integrations.connectors.files.faults import FileUnreadable

DELIMITERS = (",", ";", "\t", "|")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def decode(content: bytes, encoding: str) -> tuple[str, str]:
    """The text and the encoding that it was read with. Raises FileUnreadable when the bytes do not fit the encoding."""
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), "")
    if encoding != "auto":
        name = "utf-8-sig" if encoding == "utf-8" and marked == "utf-8-sig" else encoding
        return _strict(content, name), name
    if marked:
        return _strict(content, marked), marked
    if name := _wide(content[:4096]):
        return _strict(content, name), name
    name = "utf-8" if _is_utf8(content) else "cp1252"
    return _strict(content, name), name


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _wide(start: bytes) -> str:
    """UTF-16 without a mark, known by the zero in every other byte; empty for anything else."""
    zeros = {"utf-16-le": start[1::2].count(0), "utf-16-be": start[0::2].count(0)}
    name = max(zeros, key=lambda key: zeros[key])
    return name if zeros[name] > len(start) // 4 else ""


def _strict(content: bytes, encoding: str) -> str:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise FileUnreadable(
            f"The file is not text in {encoding}: byte {error.start + 1} does not belong there. Set “encoding” to the "
            "one the file was written with, or export it as UTF-8."
        ) from error
    if "\0" in text:
        raise FileUnreadable("The file holds zero bytes; it is not a CSV file. Export it again.")
    return text


def delimiter_of(text: str, headings: Iterable[str], header_row: int) -> str:
    """The delimiter under which most expected headings stand in the heading row; the more fields win a draw."""
    expected = {heading_key(heading) for heading in headings}

    def score(delimiter: str) -> tuple[int, int]:
        fields = _heading_fields(text, delimiter, header_row)
        return len(expected & {heading_key(field) for field in fields}), len(fields)

    return max(DELIMITERS, key=score)


def _heading_fields(text: str, delimiter: str, header_row: int) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for number, fields in enumerate(reader, start=1):
            if number == header_row:
                return fields
    except csv.Error:
        return []
    return []


@lru_cache(maxsize=4096)
def heading_key(heading: str) -> str:
    """A heading as it is compared: without case, marks at the start, or doubled spaces."""
    return " ".join(heading.replace("\ufeff", "").split()).casefold()


def rows(text: str, delimiter: str) -> Iterator[list[str] | str]:
    """The rows from the first on: the fields, or a sentence in place of a row that breaks the quoting."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                yield "a quoted text is never closed; the file ends too early or a quotation mark is missing."
                return
            yield f"the quoting is broken ({error}); double the quotation marks inside a text."
