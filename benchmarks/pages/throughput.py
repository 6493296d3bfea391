"""Write the section on throughput of docs/results/throughput.md."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from load.turns import BARE, OURS, Standing
from pages.sections import put_section
from pages.table import table

TITLE = "The cloud's server"
_NAMES = (
    *("", "rows of a request", "requests/s", "rows/s", "of the bare session"),
    *("the same by CPU time", "of ours", "server CPU ms", "clients' CPU ms"),
    *("median ms", "p99 ms"),
)


def write_section(
    page: Path,
    tables: Mapping[str, Sequence[Standing]],
    left_out: Sequence[str],
    clients: Mapping[int, int],
    rounds: int,
) -> None:
    """Write it; ``tables`` are by the network's name, ``clients`` by rows of a request."""
    each = "\n\n".join(_network(name, standings) for name, standings in tables.items())
    many = ", ".join(f"{count} for requests of {rows} rows" for rows, count in clients.items())
    missing = f"Left out, since they did not start: {', '.join(left_out)}.\n" if left_out else ""
    text = f"""
```bash
make throughput
```

The same ONNX file, the same clients, one run: in each of {rounds} rounds everybody takes a turn of
about a second, so that a load from elsewhere falls on all of them. Every server is a process of its
own, with one session on one thread, and batches of at most 32 rows; the clients are another
process, and ask again as soon as they are answered (at once: {many}). Answers are compared with the
bare session's.
{missing}
{each}

- **of the bare session**: rows in a second, of those of onnxruntime alone at its best batch, in the
  same round; medians of the rounds' ratios. **By CPU time** is the same for rows in a second of
  processor time, the server's alone: what the server adds to the session, whoever else uses the
  machine. **Of ours**: rows in a second, of hybridge's.
- **CPU ms** are processor time for one request: the server's, with all its processes, and the
  clients'. Clients and server share the machine's {os.cpu_count()} cores, so what clients take is
  missing to the server.
- hybridge and KServe are asked over gRPC, in the Open Inference Protocol; hybridge with the
  checksums that our edge sends. LitServe and Ray Serve are asked over HTTP, with the rows' bare
  bytes, which costs least there. All but KServe's Python server batch; it has no batching of its
  own. Ray's other processes (its store, its scheduler) are counted as its server's.
- Load of the machine at the end, all of this included: {os.getloadavg()[0]:.1f} on
  {os.cpu_count()} cores. A server that computes on one thread and speaks on another finds no core
  of its own then; ratios hold, absolute figures are low.
"""
    put_section(page, TITLE, "Throughput", text)


def _network(name: str, standings: Sequence[Standing]) -> str:
    served = [each for each in standings if each.who == OURS]
    shares = " and ".join(
        f"{each.of_bare:.0%} ({each.of_bare_by_cpu:.0%} by CPU time) with {each.rows} rows"
        for each in served
    )
    rows = sorted((_row(each) for each in standings), key=lambda row: (row[0] != BARE, int(row[1])))
    return f"**{name}**: hybridge reaches {shares} of the bare session.\n\n{table(_NAMES, rows)}"


def _row(standing: Standing) -> list[str]:
    is_bare = standing.who == BARE
    return [
        standing.who,
        str(standing.rows),
        f"{standing.requests_per_s:,.0f}",
        f"{standing.rows_per_s:,.0f}",
        f"{standing.of_bare:.2f}",
        f"{standing.of_bare_by_cpu:.2f}",
        "" if standing.to_ours is None else f"{standing.to_ours:.2f}",
        f"{standing.server_ms:.2f}",
        *(
            ("",) * 3
            if is_bare
            else (
                f"{standing.client_ms:.2f}",
                f"{standing.median_ms:.1f}",
                f"{standing.p99_ms:.1f}",
            )
        ),
    ]
