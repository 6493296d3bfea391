"""The bare session, in a process of its own: ``python bare.py FILE``.

Reads orders, one JSON object a line (``rows`` of a batch, ``seconds``), and writes what came of
each: ``rows`` computed, ``seconds`` and ``cpu_s`` that they took.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from rivals.graph import Graph


def main() -> None:
    graph = Graph(sys.argv[1])
    for line in sys.stdin:
        order = json.loads(line)
        shape = order["rows"], *graph.rows(b"").shape[1:]
        batch = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        graph.run(batch)
        began_s, cpu_s = time.perf_counter(), time.process_time()
        rows = 0
        while (passed_s := time.perf_counter() - began_s) < order["seconds"]:
            graph.run(batch)
            rows += order["rows"]
        cpu_s = time.process_time() - cpu_s
        print(json.dumps({"rows": rows, "seconds": passed_s, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main()
