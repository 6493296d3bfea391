"""Write docs/results/throughput.md from what each server did."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pages.section import put
from pages.table import table

_COLUMNS = {
    "what": "server",
    "requests/s": "requests/s",
    "of alone": "of the session's",
    "ours/it": "ours / it",
    "server ms": "server's CPU ms",
    "clients ms": "clients' CPU ms",
    "clients %": "clients' share %",
    "per CPU s": "requests a CPU second",
    "median ms": "median ms",
    "p99 ms": "p99 ms",
    "idle cores": "idle cores",
}
_FORMATS = {
    "of alone": ".2f",
    "ours/it": ".2f",
    "server ms": ".3f",
    "clients ms": ".3f",
    "idle cores": ".2f",
}

Row = Mapping[str, float | str]


def write_page(
    target: Path, rows: Sequence[Row], absent: Mapping[str, str], settings: argparse.Namespace
) -> None:
    """Write the page's first section."""
    tables = [
        f"{_title(network, batch)}\n\n{table(list(_COLUMNS.values()), map(_cells, these))}"
        for network, batch in dict.fromkeys((row["network"], row["rows"]) for row in rows)
        if (these := [r for r in rows if (r["network"], r["rows"]) == (network, batch)])
    ]
    left_out = "".join(f"\nLeft out: {name}, since {why}.\n" for name, why in absent.items())
    ahead = (
        f"The run went before the others (`--priority {settings.priority}`)."
        if settings.priority is not None
        else ""
    )
    put(
        target,
        "throughput",
        f"""# Throughput

```bash
make throughput
```

The same ONNX file behind each server, the same two client processes before it, one run, turns of
{settings.seconds:g} s (twice that for long requests) in {settings.rounds} rounds; medians over
rounds, ratios within a round.
Every server has processes of its own, a session of one thread, batches of up to 32 rows of what
waits, and the form in which it takes bytes as they are: the Open Inference Protocol over gRPC, or
HTTP. Ours are asked as our edge asks, with the model's hash and checksums, which they verify. What
each first answers is what the session says, or it takes no part. Each client process keeps 32
requests of 1 row in flight, or 4 of 32 rows. Versions are those of
`benchmarks/contest/requirements.txt`.

{chr(10).join(f"{each}{chr(10)}" for each in tables)}{left_out}
- **of the session's**: requests a second against those of the session alone at its best batch, in
  a process that does nothing else, in the same round.
- **server's CPU ms**: processor time of a request, over all processes of the server; the session's
  is what computing takes at its best batch, and the rest is the server.
- **clients' CPU ms**, **share**: what the clients spend on a request, beside the server, and how
  much that is of both. They have the same cores as the server, so where those are all taken, pace
  is what remains. A client of HTTP is cheaper here than one of gRPC.
- **requests a CPU second**: of server and clients together; unlike pace, it hardly depends on what
  else the machine does.
- **idle cores**: what the server keeps busy while nobody asks it anything. Whoever has no turn
  sleeps (SIGSTOP), so that this is at nobody's cost.
- Ray Serve runs optimised for throughput, with HAProxy before its replica, and gathers requests for
  two milliseconds.
- KServe's Python server computes request by request: it leaves batching to an agent in a cluster.

On {os.cpu_count()} cores, with a load of {os.getloadavg()[0]:.0f} from this and from elsewhere.
{ahead}
""",
    )


def _title(network: float | str, rows: float | str) -> str:
    return f"## {network}, requests of {rows} {'row' if rows == '1' else 'rows'}"


def _cells(row: Row) -> list[str]:
    return [_cell(row[name], _FORMATS.get(name, ",.1f")) for name in _COLUMNS]


def _cell(value: float | str, form: str) -> str:
    return value if isinstance(value, str) else format(value, form)
