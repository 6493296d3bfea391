"""A plan drawn: as a tree of text for a terminal, as SVG for a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from rich.text import Text
from rich.tree import Tree

from hybridge.plan.answers import Abstain, Combine, Fused
from hybridge.plan.plan import Fork, Leaf, Node, Path, Plan, Step
from hybridge.report import style
from hybridge.report.values import format_value

_PLACE_COLOURS = {"edge": "green", "cloud": "blue"}

Notes = Mapping[Path, Sequence[str]]
"""What is said besides at the fork or leaf at a path, in short lines."""


def tree(plan: Plan, notes: Notes | None = None) -> Tree:
    """Return the plan as a tree for a terminal: programs with sizes, forks with thresholds.

    Args:
        plan: The plan.
        notes: What is said besides at forks and leaves.
    """
    spec = plan.input
    root = Tree(Text(f"{spec.name} {spec.dtype} {_shape(spec.shape)}", style="bold"))
    _grow(root, _Drawn(plan, notes or {}), plan.root, ())
    return root


@dataclass(frozen=True)
class _Drawn:
    """A plan, and what is said at its forks and leaves."""

    plan: Plan
    notes: Notes

    def at(self, path: Path) -> list[str]:
        return list(self.notes.get(path, ()))


def _grow(above: Tree, drawn: _Drawn, node: Node, path: Path) -> None:
    plan, notes = drawn.plan, drawn.at(path)
    match node:
        case Step():
            line = Text.assemble(
                (node.place, f"bold {_PLACE_COLOURS[node.place]}"),
                " ",
                (node.program, "bold"),
                f"  {', '.join(_step_lines(plan, node))}",
            )
            _grow(above.add(line), drawn, node.then, path)
        case Fork():
            title = f"fork by {node.chooser.kind.replace('_', ' ')}"
            fork = above.add(_noted(title, notes))
            for index, (label, child) in enumerate(_labelled(node)):
                _grow(fork.add(Text(label, style="italic")), drawn, child, (*path, index))
        case Leaf():
            above.add(_noted(f"answer: {_answer(node.combine)}", notes))


def _noted(title: str, notes: Sequence[str]) -> Text:
    return Text.assemble(title, (f"  {', '.join(notes)}" if notes else "", "cyan"))


def _step_lines(plan: Plan, step: Step) -> list[str]:
    program = plan.programs[step.program]
    lines = [
        f"{format_value(program.macs, 'count')} MACs",
        f"{format_value(program.parameters, 'count')} parameters",
        f"{format_value(program.size_bytes, 'bytes')} on disk",
    ]
    if step.place == "cloud":
        lines.append(f"sent: {', '.join(step.feeds.values())} as {step.codec}")
    return lines


def _short_lines(plan: Plan, step: Step) -> list[str]:
    macs = f"{step.place}, {format_value(plan.programs[step.program].macs, 'count')} MACs"
    return [macs, f"sent as {step.codec}"] if step.place == "cloud" else [macs]


def _labelled(fork: Fork) -> Iterator[tuple[str, Node]]:
    for index, child in enumerate(fork.children):
        home = " (home)" if index == fork.home else ""
        yield fork.chooser.describe(index) + home, child


def _answer(combine: Combine) -> str:
    match combine:
        case Fused():
            weight = format_value(combine.base_weight, "number")
            return f"{combine.base} fused with {combine.global_}, base weight {weight}"
        case Abstain():
            return f"none (abstain; {combine.logits} at hand)"
        case _:
            return combine.logits


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


# The drawing for a page: boxes below one another, branches side by side.

_FALL, _LINE_HEIGHT, _PADDING = 46.0, 17.0, 11.0
#: Width of a letter, about.
_LETTER_WIDTH = 6.3


@dataclass(frozen=True)
class _Format:
    """How much room a box has.

    Attributes:
        box_width: Width of a box.
        gap: Distance between two that stand side by side.
        in_full: Whether a box says all that is known of a program.
    """

    box_width: float
    gap: float
    in_full: bool

    def fitted(self, line: str) -> str:
        """Return as much of a line as fits into a narrow box."""
        letters = int((self.box_width - _PADDING) / _LETTER_WIDTH)
        return line if self.in_full or len(line) <= letters else f"{line[: letters - 1]}…"


#: Branches that still stand side by side in full; more of them, as of a model tree, are narrow.
_MOST_IN_FULL = 5
_FULL = _Format(206.0, 22.0, in_full=True)
_NARROW = _Format(146.0, 14.0, in_full=False)


@dataclass
class _Box:
    """A node laid out: its text, where it stands, and what hangs below it."""

    title: str
    lines: list[str]
    ground: style.Ink
    rim: style.Ink
    format: _Format
    label: str = ""
    below: list["_Box"] = field(default_factory=list)

    @property
    def height(self) -> float:
        return 2 * _PADDING + _LINE_HEIGHT * (1 + len(self.lines))

    @property
    def width(self) -> float:
        """Width of the box with all that hangs below it."""
        gaps = self.format.gap * max(0, len(self.below) - 1)
        return max(self.format.box_width, sum(box.width for box in self.below) + gaps)

    @property
    def depth(self) -> float:
        """Height of the box with all that hangs below it."""
        return self.height + max((_FALL + box.depth for box in self.below), default=0.0)


def plan_svg(plan: Plan, notes: Notes | None = None) -> str:
    """Return the plan as inline SVG, in the page's colours for edge and cloud.

    Of a plan with many branches, such as a model tree, boxes are narrow and say less.

    Args:
        plan: The plan.
        notes: What is said besides at forks and leaves.
    """
    format = _FULL if len(list(plan.leaves())) <= _MOST_IN_FULL else _NARROW
    shape = f"{plan.input.dtype}, {_shape(plan.input.shape)}"
    root = _Box(plan.input.name, [shape], style.GROUND, style.MUTED, format)
    root.below = [_box(_Drawn(plan, notes or {}), plan.root, (), format)]
    margin = 2.0
    width, height = root.width + 2 * margin, root.depth + 2 * margin
    body = "".join(_drawn(root, margin + root.width / 2, margin))
    return (
        f'<svg class="drawing" role="img" aria-label="Plan" viewBox="0 0 {width:g} {height:g}" '
        f'style="min-width: {0.65 * width:g}px; max-width: {width:g}px" '
        'xmlns="http://www.w3.org/2000/svg" '
        f'font-family="system-ui, sans-serif" font-size="12">{body}</svg>'
    )


def _box(drawn: _Drawn, node: Node, path: Path, format: _Format, label: str = "") -> _Box:
    plan, notes = drawn.plan, drawn.at(path)
    match node:
        case Step():
            ground, rim = (
                (style.EDGE_GROUND, style.EDGE)
                if node.place == "edge"
                else (style.CLOUD_GROUND, style.CLOUD)
            )
            title, lines = f"{node.program} · {node.place}", _step_lines(plan, node)
            if not format.in_full:
                title, lines = node.program, _short_lines(plan, node)
            below = [_box(drawn, node.then, path, format)]
            return _Box(title, lines, ground, rim, format, label, below)
        case Fork():
            below = [
                _box(drawn, child, (*path, index), format, text)
                for index, (text, child) in enumerate(_labelled(node))
            ]
            title = f"fork by {node.chooser.kind.replace('_', ' ')}"
            return _Box(title, notes, style.GROUND, style.MUTED, format, label, below)
        case Leaf():
            lines = [*_wrapped(_answer(node.combine)), *notes]
            return _Box("answer", lines, style.GROUND, style.TEXT, format, label)


def _wrapped(text: str) -> list[str]:
    return text.replace(", ", ",\n").replace(" fused with ", " fused with\n").split("\n")


def _drawn(box: _Box, middle: float, top: float) -> Iterator[str]:
    """Yield the box, whose centre line is at ``middle``, then its branches."""
    width = box.format.box_width
    yield (
        f'<rect x="{middle - width / 2:g}" y="{top:g}" width="{width:g}" '
        f'height="{box.height:g}" rx="8" '
        f'style="fill: {style.variable(box.ground)}; stroke: {style.variable(box.rim)}"/>'
    )
    for index, line in enumerate([box.title, *box.lines]):
        y = top + _PADDING + _LINE_HEIGHT * (index + 0.75)
        ink, weight = (style.TEXT, "600") if index == 0 else (style.MUTED, "400")
        yield _text(box.format.fitted(line), middle, y, ink, weight, line)
    bottom, x = top + box.height, middle - box.width / 2
    if len(box.below) == 1:
        x = middle - box.below[0].width / 2
    for child in box.below:
        there = x + child.width / 2
        yield from _branch(middle, bottom, there, bottom + _FALL, child.label)
        yield from _drawn(child, there, bottom + _FALL)
        x += child.width + box.format.gap


def _branch(x0: float, y0: float, x1: float, y1: float, label: str) -> Iterator[str]:
    halfway = y0 + 14
    yield (
        f'<path d="M{x0:g} {y0:g}V{halfway:g}H{x1:g}V{y1 - 6:g}m-4 0h8l-4 6z" '
        f'style="fill: none; stroke: {style.variable(style.MUTED)}"/>'
    )
    if label:
        yield _text(label, x1, y1 - 14, style.TEXT, "400")


def _text(
    text: str, x: float, y: float, ink: style.Ink, weight: str, whole: str | None = None
) -> str:
    """Return a line of text, its middle at ``x``, on a rim that hides what it crosses.

    Where it is only part of the ``whole``, that is shown to whoever points at it.
    """
    title = f"<title>{escape(whole)}</title>" if whole not in (None, text) else ""
    rim = (
        ""
        if ink is not style.TEXT or weight != "400"
        else (f"; stroke: {style.variable(style.GROUND)}; stroke-width: 6; paint-order: stroke")
    )
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="middle" font-weight="{weight}" '
        f'style="fill: {style.variable(ink)}{rim}">{escape(text)}{title}</text>'
    )
