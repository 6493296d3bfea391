"""What a server makes of a graph: requests per second, beside others and the bare session.

The same ONNX file, the same clients, one run: in every round, each takes its turn for a few
seconds, so that a load from elsewhere falls on all of them. Every server is a process of its own
with one session on one thread; the clients are another process, whose processor time is told
apart. What is not installed in the rivals' environment, or does not start, is left out and named.

    make rivals  # once: LitServe, Ray Serve and KServe, in .venv-rivals
    python benchmarks/throughput.py --page docs/results/throughput.md
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
from common import Row, report, session
from load.contestants import RIVALS, Bare, Clients, ours, rival, start
from load.requests import write_bundle, write_program, write_request
from load.turns import Standing, Turns
from pages.throughput import write_section

from hybridge.progress import track

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from outages.cloud import free_port

#: A small network, for which what a server adds is much, and one as clouds have it.
NETWORKS = ("cifar_resnet8", "cifar_resnet56")
#: Clients that ask at once, by the rows of a request: enough for two full batches.
CLIENTS = {1: 64, 32: 4}
#: Batches among which the bare session's best is looked for.
BATCHES = (1, 2, 4, 8, 16, 32, 64)
WARM_S = 0.2


def measure(network: str, settings: argparse.Namespace) -> list[Standing]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        program = write_program(network, settings.seed, folder)
        assert program.path is not None
        requests = [write_request(program, rows, settings.seed, folder) for rows in CLIENTS]
        run = session(program.path).run
        expected = {each.rows: run(None, {"pixels": each.pixels})[0] for each in requests}
        contestants = [ours(write_bundle(program, folder), free_port())]
        for rival_name in settings.rivals:
            port = free_port()
            contestants.append(rival(rival_name, settings.python, program.path, port))
        servers = list(start(contestants, requests[0], expected, stack))
        bare, clients = stack.enter_context(Bare(program.path)), stack.enter_context(Clients())
        best = max(BATCHES, key=lambda rows: bare.turn(rows, WARM_S).rows_per_s)
        turns = Turns()
        for _ in track(range(settings.rounds), "round"):
            for rows in sorted({*CLIENTS, best}):
                turns.add(bare.turn(rows, settings.seconds))
            for request in requests:
                for server in servers:
                    server.turn(clients, request, CLIENTS[request.rows], WARM_S)
                    turns.add(
                        server.turn(clients, request, CLIENTS[request.rows], settings.seconds)
                    )
        return turns.standings()


def row(network: str, standing: Standing) -> Row:
    return {
        "what": f"{network}, {standing.who}, {standing.rows}",
        "requests/s": standing.requests_per_s,
        "rows/s": standing.rows_per_s,
        "of bare": standing.of_bare,
        "by CPU": standing.of_bare_by_cpu,
        "to ours": float("nan") if standing.to_ours is None else standing.to_ours,
        "server ms": standing.server_ms,
        "client ms": standing.client_ms,
        "median ms": standing.median_ms,
        "p99 ms": standing.p99_ms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="what is served")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a turn takes")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=RIVALS, help="who else")
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(".venv-rivals/bin/python"),
        help="the Python that has the rivals",
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--page", type=Path, help="page to write the results to")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    tables = {network: measure(network, settings) for network in settings.networks}
    rows = [row(name, each) for name, standings in tables.items() for each in standings]
    report("Serving", rows, settings)
    if settings.page is not None:
        found = {each.who for standings in tables.values() for each in standings}
        left_out = [name for name in settings.rivals if name not in found]
        write_section(settings.page, tables, left_out, CLIENTS, settings.rounds)


if __name__ == "__main__":
    main()
