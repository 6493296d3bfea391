"""How late the machine wakes who sleeps for a millisecond, told by a process that does no more.

``outside.py`` watches until its input ends, and then prints a line of JSON: ``p50_ms``,
``p999_ms`` and ``p100_ms``.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from outages.machine import Jitter


@contextmanager
def machine_jitter() -> Iterator[dict[str, float]]:
    """Watch while the context is open; the figures are in what it yields once it is closed."""
    found: dict[str, float] = {}
    command = [sys.executable, __file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as watcher:
        yield found
        said, _ = watcher.communicate("")
    found.update(json.loads(said))


def main() -> None:
    with Jitter() as jitter:
        sys.stdin.read()
    figures = ("p50_ms", "p999_ms", "p100_ms")
    print(json.dumps({name: getattr(jitter, name) for name in figures}))


if __name__ == "__main__":
    main()
