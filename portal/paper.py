"""PDF for people outside: a title, facts, paragraphs and tables on A4, in one typeface, with page numbers.

The rule here: what is written is text and stays searchable; nothing is drawn that the files beside it do not say as well. The
typeface knows Latin letters. Of a mark that it does not know the bare letter is written, an arrow as on a keyboard, of another
script question marks; the CSV beside it has every letter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import IO, Any

import reportlab
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

_INK, _QUIET, _LINE = colors.HexColor("#1b1f24"), colors.HexColor("#57606a"), colors.HexColor("#d0d7de")
_WIDTH = A4[0] - 36 * mm
_SMALL, _LEAST, _RIGHT = (
    7.0,
    5.0,
    6,
)  # points: the letters of a table, the smallest of them, and what stays free beside them
_SIGNS = {"→": "->", "←": "<-", "↔": "<->", "\N{MINUS SIGN}": "-", "≤": "<=", "≥": ">=", "≈": "~"}


class Digest(str):
    """A text that is compared letter by letter: drawn on one line, each letter as wide as the other."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one a line."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table whose head is repeated on every page. `widths` are shares of the page's width.

    A word that is wider than its column is drawn smaller before it is broken.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[float]


@dataclass(frozen=True, slots=True)
class Heading:
    """What the blocks after it are about."""

    text: str


Block = Facts | Grid | Heading | str


def write(target: IO[Any], *, title: str, foot: str, blocks: Iterable[Block]) -> None:
    """Write a document of these blocks; `foot` stands at the bottom of every page beside its number."""
    regular, bold = _typefaces()
    story: list[Any] = [Paragraph(_said(title), _style(bold, 17, 21, after=4 * mm))]
    for block in blocks:
        story.extend(_drawn(block, regular, bold))

    paper = SimpleDocTemplate(
        target, pagesize=A4, leftMargin=18 * mm, rightMargin=18 * mm, topMargin=16 * mm, bottomMargin=18 * mm,
        title=title, author="Tieout", lang="en",
    )  # fmt: skip
    paper.build(story, canvasmaker=partial(_Numbered, foot=_known(foot), face=regular))


class _Numbered(Canvas):  # type: ignore[misc]
    """Pages that say how many there are: kept until the last one is drawn, and numbered then."""

    def __init__(self, *args: Any, foot: str, face: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.foot, self.face = foot, face
        self.pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - reportlab's own name
        """Keep the page."""
        self.pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Draw the foot of every page, and write them."""
        pages = self.pages
        for number, page in enumerate(pages, 1):
            self.__dict__.update(page)
            self.setFont(self.face, 7)
            self.setFillColor(_QUIET)
            self.drawString(18 * mm, 10 * mm, self.foot)
            self.drawRightString(A4[0] - 18 * mm, 10 * mm, f"Page {number} of {len(pages)}")
            super().showPage()
        super().save()


def _drawn(block: Block, regular: str, bold: str) -> list[Any]:
    if isinstance(block, str):
        return [Paragraph(_said(block), _style(regular, 9, 13, after=2 * mm))]
    if isinstance(block, Heading):
        return [Spacer(0, 4 * mm), Paragraph(_said(block.text), _style(bold, 11, 14, after=2 * mm))]
    quiet, plain = _style(regular, 8, 10.5, ink=_QUIET), _style(regular, 8, 10.5)
    if isinstance(block, Facts):
        rows = [
            [
                Paragraph(_said(name), quiet),
                _even(value) if isinstance(value, Digest) else Paragraph(_said(value), plain),
            ]
            for name, value in block.rows
        ]
        return [LongTable(rows, colWidths=[_WIDTH * 0.22, _WIDTH * 0.78], style=_ruled(), hAlign="LEFT")]
    head = [Paragraph(_said(name), _style(bold, 7.5, 10)) for name in block.head]
    widths = [_WIDTH * share for share in block.widths]
    body = [[_cell(cell, width, regular) for cell, width in zip(row, widths, strict=True)] for row in block.rows]
    return [LongTable([head, *body], colWidths=widths, repeatRows=1, style=_ruled(), hAlign="LEFT")]


def _cell(text: str, width: float, face: str) -> Paragraph:
    """A cell whose longest word fits its column, down to what can still be read."""
    if isinstance(text, Digest):
        return _even(text)
    said = _said(text)
    longest = max((pdfmetrics.stringWidth(word, face, 1) for word in said.split()), default=0)
    fits = (width - _RIGHT) / longest if longest else _SMALL
    size = max(_LEAST, min(_SMALL, fits))
    return Paragraph(said, _style(face, size, size + 2))


def _even(digest: str) -> Paragraph:
    return Paragraph(_said(digest), _style("Courier", 6.3, 9))


def _ruled() -> TableStyle:
    return TableStyle(
        [
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), _RIGHT),
            ("TOPPADDING", (0, 0), (-1, -1), 2.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ]
    )


def _style(face: str, size: float, leading: float, *, ink: Any = _INK, after: float = 0) -> ParagraphStyle:
    return ParagraphStyle(
        "tieout", fontName=face, fontSize=size, leading=leading, textColor=ink, spaceAfter=after, splitLongWords=1
    )


def _said(text: str) -> str:
    return escape(_known(text), quote=False)


def _known(text: str) -> str:
    """The text in letters that the typeface has; of a letter with a mark that it lacks the letter itself."""
    return "".join(_drawable(letter) for letter in text)


def _drawable(letter: str) -> str:
    has = _letters()
    if ord(letter) in has or letter in "\n\t":
        return letter
    if letter in _SIGNS:
        return _SIGNS[letter]
    bare = unicodedata.normalize("NFKD", letter)[0]
    return bare if ord(bare) in has else "?"


@cache
def _letters() -> frozenset[int]:
    _typefaces()
    return frozenset(pdfmetrics.getFont("Vera").face.charToGlyph)


@cache
def _typefaces() -> tuple[str, str]:
    folder = Path(reportlab.__file__).parent / "fonts"
    for name in ("Vera", "VeraBd"):
        pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
    return "Vera", "VeraBd"
