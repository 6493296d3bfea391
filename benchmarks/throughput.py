"""Requests a second: our server, LitServe, Ray Serve and KServe's, beside the session alone.

All serve the same ONNX file, each from processes of its own, on one thread a session, to the same
client processes, and take turns within one run. What clients spend is measured apart: they share
the machine's cores with the servers. The others are installed as `contest/requirements.txt` says;
who is not, or does not start, is left out.

    python benchmarks/throughput.py --page docs/results/throughput.md
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import PIXELS, Row, random_network, random_pixels, report, session
from contest.contestants import CONTESTANTS, OURS, Bare, Load, Questions, Standing, Turn, started
from pages.throughput import write_page

from hybridge.codecs.codec import codec_named
from hybridge.design.export.onnx import freeze
from hybridge.plan.program import Program
from hybridge.progress import track
from hybridge.runtime.wire import checksum, oip
from hybridge.runtime.wire.message import Message

NETWORKS = ("cifar_resnet56", "cifar_resnet8")
LOADS = (Load(rows=1, lanes=32), Load(rows=32, lanes=4))
#: Batches that the session alone is tried with.
BATCHES = (1, 16, 32)


@dataclass(frozen=True, slots=True)
class Round:
    """One round: everybody's turns, by rows of a request, and the session's, by rows of a batch."""

    turns: dict[tuple[str, int], Turn]
    bare: dict[int, Turn]

    @property
    def best_rows_per_s(self) -> float:
        """Rows a second of the session alone, at its best batch."""
        return max(rows * turn.per_s for rows, turn in self.bare.items())


def ask_all(graph: Program, folder: Path, seed: int) -> Questions:
    """Write each request as a file, in every form, and compute what is right."""
    assert graph.path is not None
    alone = session(graph.path)
    files, logits = {}, {}
    for load in LOADS:
        pixels = random_pixels(load.rows, seed)
        message = Message("global", graph.sha256, {"pixels": codec_named("raw").encode(pixels)})
        plain, sealed = oip.to_request(message), oip.to_request(message)
        checksum.seal_request(sealed)  # as our edge does
        plain.parameters.clear()  # nobody else knows them
        bodies = {
            "message": plain.SerializeToString(),
            "sealed": sealed.SerializeToString(),
            "pixels": pixels.tobytes(),
        }
        for form, body in bodies.items():
            path = files[form, load.rows] = folder / f"{load.rows}.{form}"
            path.write_bytes(body)
        logits[load.rows] = alone.run(None, {"pixels": pixels})[0]
    return Questions(files, logits)


def play(
    standing: Sequence[Standing], bare: Bare, questions: Questions, settings: argparse.Namespace
) -> list[Round]:
    """Return the rounds; in every second one, turns go in reverse order."""
    seconds: float = settings.seconds
    turns: list[tuple[str, int, Callable[[], Turn]]] = [
        (each.contestant.name, load.rows, _turn(each, questions, load, seconds))
        for load in LOADS
        for each in standing
    ]
    turns += [("", rows, lambda rows=rows: bare.turn(rows, seconds / 2)) for rows in BATCHES]
    rounds = []
    for _ in track(range(settings.rounds), "round"):
        turns.reverse()
        came = {(name, rows): turn() for name, rows, turn in turns}
        alone = {rows: came.pop(("", rows)) for rows in BATCHES}
        rounds.append(Round(came, alone))
    return rounds


def _turn(each: Standing, questions: Questions, load: Load, seconds: float) -> Callable[[], Turn]:
    # Long requests are few, so their turns are longer.
    lasts_s = seconds if load.rows == 1 else 2 * seconds
    return lambda: each.turn(questions.files[each.contestant.form, load.rows], load, lasts_s)


def rows(network: str, rounds: Sequence[Round]) -> list[dict[str, float | str]]:
    """Return medians over rounds: ratios are of what came in the same round."""
    found: list[dict[str, float | str]] = []
    for load in LOADS:
        rows_ = load.rows
        alone = [each.best_rows_per_s / rows_ for each in rounds]
        bare_ms = [
            min(turn.server_cpu_s / batch for batch, turn in each.bare.items()) * rows_ * 1e3
            for each in rounds
        ]
        found.append(_row(network, rows_, "the session alone, at its best batch", alone, bare_ms))
        single = [each.bare[rows_] for each in rounds]
        pace = [turn.per_s for turn in single]
        cpu_ms = [turn.server_cpu_s * 1e3 for turn in single]
        row = _row(network, rows_, "the session alone, request by request", pace, cpu_ms)
        row["of alone"] = _median(np.divide(pace, alone))
        found.append(row)
        names = dict.fromkeys(name for name, batch in rounds[0].turns if batch == rows_)
        ours = [each.turns[OURS.name, rows_] for each in rounds]
        for name in sorted(names, key=[each.name for each in CONTESTANTS].index):
            turns = [each.turns[name, rows_] for each in rounds]
            cpu_ms = [turn.server_cpu_s * 1e3 for turn in turns]
            client_ms = [turn.client_cpu_s * 1e3 for turn in turns]
            pace = [turn.per_s for turn in turns]
            row = _row(network, rows_, name, pace, cpu_ms)
            row["of alone"] = _median(np.divide(pace, alone))
            row["ours/it"] = _median([a.per_s / b for a, b in zip(ours, pace, strict=True)])
            row["clients ms"] = _median(client_ms)
            row["clients %"] = 100 * _median(
                [mine / (mine + its) for mine, its in zip(client_ms, cpu_ms, strict=True)]
            )
            both_ms = np.add(cpu_ms, client_ms)
            row["per CPU s"] = _median(1e3 / both_ms)
            row["median ms"] = _median([turn.median_ms for turn in turns])
            row["p99 ms"] = _median([turn.p99_ms for turn in turns])
            found.append(row)
    return found


def _row(
    network: str, rows_: int, name: str, pace: Sequence[float], cpu_ms: Sequence[float]
) -> dict[str, float | str]:
    nothing = dict.fromkeys(
        ("ours/it", "clients ms", "clients %", "per CPU s", "median ms", "p99 ms"), ""
    )
    return {
        "what": name,
        "network": network,
        "rows": str(rows_),
        "requests/s": _median(pace),
        "of alone": 1.0,
        "server ms": _median(cpu_ms),
        **nothing,
    }


def _median(values: Sequence[float] | np.ndarray) -> float:
    return float(np.median(values))


def contest(
    network: str, settings: argparse.Namespace
) -> tuple[list[dict[str, float | str]], dict[str, str]]:
    """Return a network's figures, and who was left out, and why."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        module = random_network(network, settings.seed)
        program = freeze(module, "global", PIXELS, ("logits",), None, folder)
        assert program.path is not None
        questions = ask_all(program, folder, settings.seed)
        with (
            closing(Bare(program.path)) as bare,
            started(CONTESTANTS, program.path, questions, folder) as (standing, absent),
        ):
            found = rows(network, play(standing, bare, questions, settings))
            idle = {each.contestant.name: each.idle_cores for each in standing}
            for row in found:
                row["idle cores"] = idle.get(str(row["what"]), "")
            return found, absent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4, help="turns of everybody")
    parser.add_argument("--seconds", type=float, default=1.5, help="that count, of each turn")
    parser.add_argument("--network", action="append", help="what is served; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs")
    parser.add_argument(
        "--priority", type=int, help="of this session before others, -20 (first) to 19; takes root"
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--page", type=Path, help="page to write the results to")
    settings = parser.parse_args()
    if settings.priority is not None:
        Path("/proc/self/autogroup").write_text(str(settings.priority))
    torch.set_num_threads(1)
    figures: list[Row] = []
    absent: dict[str, str] = {}
    for network in settings.network or NETWORKS:
        found, missing = contest(network, settings)
        figures += found
        absent |= missing
    report("Throughput", figures, settings)
    for name, why in absent.items():
        print(f"left out: {name}: {why}")
    if settings.page is not None:
        write_page(settings.page, figures, absent, settings)


if __name__ == "__main__":
    main()
