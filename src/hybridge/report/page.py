"""The report: one HTML file that needs nothing beside itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from hybridge import __version__
from hybridge.errors import MissingExtraError
from hybridge.report.style import style_sheet


class Block(Protocol):
    """What a section can hold; `Table` and `Gallery` are blocks, too."""

    def html(self) -> str:
        """Return it for a page; everything from outside is escaped."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str

    def html(self) -> str:
        """Return it for a page."""
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True)
class Figure:
    """A chart or drawing with a caption; ``svg`` is trusted, and comes from this package."""

    svg: str
    caption: str = ""

    def html(self) -> str:
        """Return it for a page."""
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure><div class="scroll">{self.svg}</div>{caption}</figure>'


@dataclass(frozen=True)
class SideBySide:
    """Blocks beside one another where there is room, below one another where there is not."""

    blocks: Sequence[Block]

    def html(self) -> str:
        """Return them for a page."""
        return f'<div class="side-by-side">{"".join(block.html() for block in self.blocks)}</div>'


@dataclass(frozen=True)
class Highlight:
    """One number to remember: its name, its value as text, and what to compare it with."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """Everything a report says.

    Attributes:
        title: What it is about.
        summary: What was found, in a sentence or two.
        facts: What was run, on what, seed, versions, fingerprint of the split.
        highlights: The few numbers to remember.
        sections: The rest, in order.
    """

    title: str
    summary: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    highlights: Sequence[Highlight] = ()
    sections: Sequence[Section] = ()

    def html(self) -> str:
        """Return the whole page; raises `MissingExtraError` where jinja2 is not installed."""
        try:
            from jinja2 import Environment
            from markupsafe import Markup
        except ModuleNotFoundError as error:
            raise MissingExtraError("jinja2", "design") from error
        source = files("hybridge.report").joinpath("page.html").read_text(encoding="utf-8")
        template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
            source
        )
        sections = [
            (section.title, [Markup(block.html()) for block in section.blocks])
            for section in self.sections
        ]
        return template.render(
            report=self, sections=sections, inks=Markup(style_sheet()), version=__version__
        )

    def write(self, path: Path) -> Path:
        """Write the page to ``path`` and return it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.html(), encoding="utf-8")
        return path
