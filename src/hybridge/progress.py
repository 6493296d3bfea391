"""Progress bars for what takes over two seconds; silent where nobody watches."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
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
    if total is None and isinstance(items, Sized):
        total = len(items)
    with _bar(what, total) as update:
        for done, item in enumerate(items, start=1):
            yield item
            update(done, "")


@contextmanager
def gauge(what: str) -> Iterator[Callable[[float, str], None]]:
    """Draw a bar while the context lasts; yield a function that moves it.

    The function takes the share that is done, from 0 to 1, and a note on how things stand.

    Args:
        what: What is being done, as a short phrase.
    """
    with _bar(what, 1.0) as update:
        yield update


@contextmanager
def _bar(what: str, total: float | None) -> Iterator[Callable[[float, str], None]]:
    """Yield what moves a bar, which appears once a second has gone by."""
    if not sys.stderr.isatty():
        yield lambda done, note: None
        return
    columns = (SpinnerColumn(), *Progress.get_default_columns()[:-1], TimeElapsedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=_console, transient=True)
    task = bar.add_task(what, total=total)
    began = time.monotonic()

    def update(done: float, note: str) -> None:
        bar.update(task, completed=done, description=f"{what}: {note}" if note else what)
        if time.monotonic() - began > _SHOW_AFTER_S:
            bar.start()

    try:
        yield update
    finally:
        if bar.live.is_started:
            bar.stop()
