"""What commands print and write: results on standard output, all else on standard error."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from typer import Context

#: Columns of what is printed into a file or a pipe.
_PIPE_WIDTH = 120


def show(what: RenderableType) -> None:
    """Print a table, tree or text; brackets in strings are no markup."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(width=width, markup=False, highlight=False).print(what)


def show_facts(facts: Mapping[str, str]) -> None:
    """Print names and values, one pair on a line."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(Text(name, style="dim"), Text(value))
    show(table)


def show_json(value: Any, indent: int | None = 1) -> None:
    """Print plain data as JSON; without an indent, on one line that is flushed at once."""
    print(json.dumps(value, indent=indent, allow_nan=False), flush=indent is None)


def warn(message: str) -> None:
    """Print one line on standard error."""
    print(f"warning: {' '.join(message.split())}", file=sys.stderr)


def plain(model: BaseModel) -> Any:
    """Return a model as plain data that JSON can hold: infinities become strings."""
    return json.loads(model.model_dump_json())


def check_file(option: str, path: Path) -> None:
    """Raise `ConfigError` unless a file can be written at ``path``; leaves no trace."""
    if path.is_dir():
        raise ConfigError(f"{option} {path}: expected a file, got a folder; add a file name to it")
    check_folder(option, path.parent)


def check_folder(option: str, folder: Path) -> None:
    """Raise `ConfigError` unless ``folder`` is one, or can be made; leaves no trace."""
    nearest = next(above for above in (folder, *folder.absolute().parents) if above.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{option}: expected a folder, got the file {nearest}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{option}: the folder {nearest} cannot be written to; choose another")


def join(names: Sequence[str]) -> str:
    """Return names as one would say them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def check_used(context: "Context", names: tuple[str, ...], why: str) -> None:
    """Raise `ConfigError` for given options without effect, rather than leave them out unsaid."""
    sources = ((name, context.get_parameter_source(name)) for name in names)
    given = [name for name, source in sources if source is not None and source.name != "DEFAULT"]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{options}: such options {why}; leave them out")
