"""Progress bars for what takes over two seconds; silent where nobody watches."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")

_SHOW_AFTER_S = 1.0
_console = Console(stderr=True)


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yield ``items``, drawing a bar on standard error once a second has gone by.

    Args:
        items: What to go through.
        what: What is being done, as a short phrase.
        total: How many there are, where ``items`` cannot tell.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    columns = (SpinnerColumn(), *Progress.get_default_columns()[:-1], TimeElapsedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=_console, transient=True)
    task = bar.add_task(what, total=total)
    began = time.monotonic()
    shown = False
    try:
        for item in items:
            yield item
            bar.advance(task)
            if not shown and time.monotonic() - began > _SHOW_AFTER_S:
                bar.start()
                shown = True
    finally:
        if shown:
            bar.stop()
