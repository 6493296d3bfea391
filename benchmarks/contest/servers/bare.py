"""The session alone, in a process of its own: ``bare.py FILE``.

Reads lines of JSON, ``rows`` and ``seconds``, and answers each with a line: ``requests`` of so many
rows that it computed, ``seconds`` and ``cpu_s`` that it took.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import session


def pace(run: Callable[[], object], seconds: float) -> dict[str, float]:
    run()
    runs, cpu_s, began_s = 0, time.process_time(), time.perf_counter()
    while (passed_s := time.perf_counter() - began_s) < seconds:
        run()
        runs += 1
    return {"requests": runs, "seconds": passed_s, "cpu_s": time.process_time() - cpu_s}


def main() -> None:
    graph = session.opened(sys.argv[1])
    for line in sys.stdin:
        asked = json.loads(line)
        feed = {"pixels": np.zeros((asked["rows"], *session.SHAPE), np.uint8)}
        print(
            json.dumps(pace(lambda feed=feed: graph.run(None, feed), asked["seconds"])), flush=True
        )


if __name__ == "__main__":
    main()
