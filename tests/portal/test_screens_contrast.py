"""Every pair of colours that the stylesheets put together can be read: WCAG 2.2 AA, in both themes."""

from __future__ import annotations

import gzip
import re

import pytest
from django.conf import settings

CSS = settings.BASE_DIR / "static" / "css"
JS = settings.BASE_DIR / "static" / "js"
TEMPLATES = settings.BASE_DIR / "templates"
TOKENS = {
    name: {"light": light, "dark": dark}
    for name, light, dark in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", (CSS / "tokens.css").read_text()
    )
}
GROUNDS = ["ground", "surface", "raised", "hover"]
TEXT = [
    *[(ink, ground) for ink in ("ink", "ink-2", "accent", "accent-strong") for ground in GROUNDS],
    *[(tone, ground) for tone in ("good", "warn", "bad", "info") for ground in ("surface", "ground", f"{tone}-wash")],
    *[("ink", f"{tone}-wash") for tone in ("accent", "good", "warn", "bad", "info")],
    *[("ink-2", wash) for wash in ("accent-wash", "sunken", "warn-wash", "bad-wash", "info-wash", "good-wash")],
    ("ink", "sunken"),
    ("accent", "accent-wash"),
    ("accent", "warn-wash"),
    ("accent-ink", "accent"),
    ("accent-ink", "accent-strong"),
    ("bad-ink", "bad"),
]
SHAPES = [
    *[("line-strong", ground) for ground in ("ground", "surface", "raised")],
    *[("accent", ground) for ground in [*GROUNDS, "sunken", "accent-wash"]],  # the focus ring
    *[(f"series-{number}", "surface") for number in range(1, 7)],
    *[(tone, "surface") for tone in ("good", "warn", "bad", "info")],  # dots and lamps
]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_is_the_one_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), TEXT)
def test_text_can_be_read_on_its_ground(ink: str, ground: str, theme: str) -> None:
    assert contrast(TOKENS[ink][theme], TOKENS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("shape", "ground"), SHAPES)
def test_controls_focus_and_marks_stand_out(shape: str, ground: str, theme: str) -> None:
    assert contrast(TOKENS[shape][theme], TOKENS[ground][theme]) >= 3


def test_no_other_stylesheet_states_a_colour_of_its_own() -> None:
    for sheet in CSS.glob("*.css"):
        if sheet.name not in {"tokens.css", "print.css"}:
            assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(", sheet.read_text()), sheet.name


def test_styles_and_scripts_keep_to_their_budget() -> None:
    styles = b"".join(sheet.read_bytes() for sheet in CSS.glob("*.css"))
    assert len(gzip.compress(styles)) <= 16 * 1024
    frame = (TEMPLATES / "base.html").read_text() + (TEMPLATES / "components" / "head.html").read_text()
    everywhere = re.findall(r"js/([\w-]+)\.js", frame)
    alone = sorted({script.stem for script in JS.glob("*.js")} - set(everywhere))  # a page's own, one a page
    for own in alone:
        assert (
            len(gzip.compress(b"".join((JS / f"{name}.js").read_bytes() for name in [*everywhere, own]))) <= 12 * 1024
        )
