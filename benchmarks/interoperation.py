"""Our edge before KServe's Python server, and NVIDIA's client before ours, for real.

The edge sends every input (cifar_resnet8 before cifar_resnet20, random weights, raw pixels) to the
same ONNX file behind either server. Right is what the session alone says.

    python benchmarks/interoperation.py --page docs/results/throughput.md
"""

import argparse
import math
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import Row, random_pixels, report, session
from edge_runtime import plan_with
from pages.section import put
from pages.table import table

from hybridge.plan.bundle import Bundle
from hybridge.plan.plan import Plan
from hybridge.plan.variants import with_threshold
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from rivals import environment

NAME = "resnet"
_TITLES = ("who asks", "whom", "requests", "from the cloud", "right", "median ms")


def edge_before(server: str, transport: GrpcTransport, plan: Plan, pixels: np.ndarray) -> Row:
    """Return what becomes of ``pixels``, sent one by one."""
    graph = plan.programs["global"].path
    assert graph is not None
    alone = session(graph)
    right = [int(alone.run(None, {"pixels": each[None]})[0].argmax()) for each in pixels]
    with EdgeRuntime(Bundle(plan), transport) as runtime:
        answers = [runtime.predict(each) for each in pixels]
    came = [answer.source == "cloud" for answer in answers]
    correct = [answer.label == label for answer, label in zip(answers, right, strict=True)]
    median_ms = statistics.median(answer.latency_ms for answer in answers)
    return _row("our edge", server, len(pixels), sum(came), sum(correct), median_ms)


def nvidias_client(target: str, plan: Plan, pixels: np.ndarray, folder: Path) -> Row:
    """Return what NVIDIA's client gets of our server."""
    graph = plan.programs["global"].path
    assert graph is not None
    np.save(folder / "pixels.npy", pixels[:1])
    found = environment.triton_client(target, "global", folder / "pixels.npy")
    said = session(graph).run(None, {"pixels": pixels[:1]})[0]
    right = np.allclose(found["outputs"]["logits"], said, rtol=1e-4, atol=1e-5)
    assert found["live"]
    assert found["ready"]
    assert found["model_ready"]
    asked = found["asked"]
    client = "`tritonclient.grpc`"
    return _row(client, "our server", asked, asked, asked if right else 0, found["median_ms"])


def _row(who: str, whom: str, asked: int, came: int, right: int, median_ms: float) -> Row:
    values = (who, whom, str(asked), str(came), str(right), f"{median_ms:.2f}")
    return dict(zip(("what", *_TITLES[1:]), values, strict=True))


def play(count: int, seed: int, folder: Path) -> list[Row]:
    """Return every case."""
    plan = with_threshold(plan_with("cifar_resnet8", seed, folder), -math.inf)
    pixels = random_pixels(count, seed)
    graph = plan.programs["global"].path
    assert graph is not None
    rows = []
    with serving(Models({"bench": [plan.programs["global"]]})) as target:
        rows.append(edge_before("our server", GrpcTransport(target, 10_000.0), plan, pixels))
        rows.append(nvidias_client(target, plan, pixels, folder))
    with environment.kserve(graph, NAME) as target:
        # It knows neither our names nor our versions.
        transport = GrpcTransport(target, 10_000.0, names={"global": NAME}, version="1")
        rows.append(edge_before("KServe's Python server", transport, plan, pixels))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=500, help="inputs that the edge is asked")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--page", type=Path, help="page to write the results to")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = play(settings.rounds, settings.seed, Path(folder))
    report("Interoperation", rows, settings)
    if settings.page is not None:
        put(settings.page, "interoperation", _section(rows))


def _section(rows: list[Row]) -> str:
    return f"""## Interoperation

```bash
make throughput
```

One ONNX file behind either server, and every input sent there, one by one. KServe's server knows
neither our names nor our hashes, so the edge has a
`GrpcTransport(target, names={{"global": "{NAME}"}}, version="1")`. NVIDIA's client asks, too,
whether the server lives and is ready, and what the model takes. Right is what the session alone
says.

{table(_TITLES, ([str(value) for value in row.values()] for row in rows))}
"""


if __name__ == "__main__":
    main()
