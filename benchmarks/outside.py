"""How late the machine wakes who sleeps for a millisecond, told by a process that does no more.

``outside.py`` watches until its input ends, and then prints a line of JSON: ``p50_ms``,
``p999_ms`` and ``p100_ms``.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


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
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    late_ms = []
    while not ended.is_set():
        began_s = time.perf_counter()
        time.sleep(1e-3)
        late_ms.append((time.perf_counter() - began_s) * 1e3 - 1)
    shares = np.quantile(late_ms, [0.5, 0.999, 1.0])
    print(json.dumps(dict(zip(("p50_ms", "p999_ms", "p100_ms"), shares.tolist(), strict=True))))


if __name__ == "__main__":
    main()
