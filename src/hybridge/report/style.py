"""How figures look: one palette, told to matplotlib as stand-ins and to the page as variables.

A figure is drawn once, in stand-in colours; in its SVG they become CSS variables, so that one
drawing serves light and dark pages alike. Each variable carries its light value as a fall-back,
so that a figure also stands on its own.
"""

from typing import NamedTuple


class Ink(NamedTuple):
    """A colour by its name in the page's style sheet, on light and on dark ground."""

    name: str
    light: str
    dark: str


#: Told apart under the common kinds of colour blindness (after Okabe and Ito), and by lightness.
SERIES = (
    Ink("series-1", "#0066b0", "#4fb0f5"),
    Ink("series-2", "#d05a00", "#f59b55"),
    Ink("series-3", "#00875f", "#3fcfa0"),
    Ink("series-4", "#ab4f8e", "#e79fcf"),
    Ink("series-5", "#a87800", "#e6bd45"),
    Ink("series-6", "#4a95c9", "#a4d8fa"),
    Ink("series-7", "#6a58a8", "#b9abec"),
    Ink("series-8", "#7a4a2b", "#d0a487"),
)
TEXT = Ink("ink", "#1c2430", "#e8ecf1")
MUTED = Ink("muted", "#5c6675", "#9aa5b4")
GRID = Ink("grid", "#e3e7ec", "#2c343f")
GROUND = Ink("card", "#ffffff", "#171c23")
EDGE = Ink("edge", "#00875f", "#3fcfa0")
CLOUD = Ink("cloud", "#0066b0", "#4fb0f5")
EDGE_GROUND = Ink("edge-ground", "#e4f4ee", "#12332a")
CLOUD_GROUND = Ink("cloud-ground", "#e2eefa", "#132c46")

INKS = (*SERIES, TEXT, MUTED, GRID, GROUND, EDGE, CLOUD, EDGE_GROUND, CLOUD_GROUND)

#: Dash patterns that go with the series, so that colour is never the only difference.
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 3)))


def stand_in(ink: Ink) -> str:
    """Return the colour that stands for ``ink`` while a figure is drawn: a unique near-black."""
    return f"#0101{INKS.index(ink) + 1:02x}"


def variable(ink: Ink) -> str:
    """Return ``ink`` as CSS, with its light value to fall back on."""
    return f"var(--{ink.name}, {ink.light})"


def style_sheet() -> str:
    """Return the CSS that gives every ink its value, by the reader's preferred scheme."""
    light = "".join(f"--{ink.name}:{ink.light};" for ink in INKS)
    dark = "".join(f"--{ink.name}:{ink.dark};" for ink in INKS)
    return f":root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
