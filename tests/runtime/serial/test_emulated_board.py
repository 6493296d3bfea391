"""A Cortex-M7 in QEMU asks the cloud through `hybridge gateway`, over a line that is disturbed."""

import importlib.util
import shutil
import subprocess

import pytest
from line import Disturber, line
from test_serial_line import check, gateway, labels_of, process

from hybridge.design.export.c_source import write_c
from hybridge.design.export.edge_program import SCORE, edge_program
from hybridge.design.export.firmware import TOOLS
from hybridge.design.export.firmware_project import BOTH, write_project
from hybridge.design.export.static_memory import plan_memory
from hybridge.plan.bundle import save_bundle
from hybridge.runtime.sessions import ProgramSession
from tiny_plans import images, pair_plan

MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
if importlib.util.find_spec("emx_onnx_cgen") is None:
    MISSING.append("emx-onnx-cgen")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")
RETRY_MS = 150


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    return save_bundle(pair_plan(folder), folder / "bundle")


@pytest.fixture(scope="module")
def project(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    edge = edge_program(bundle.plan)
    source = write_c(edge.program)
    plans = {BOTH: plan_memory(source, edge.outputs()), "base": plan_memory(source, ["logits"])}
    write_project(folder, edge, source, plans)
    return folder


def ask(project, pixels, port, timeout_s=120, **settings):
    """Let the board run over images; returns a line of each answer, split."""
    (project / "images.bin").write_bytes(pixels.tobytes())
    (project / "asked.txt").unlink(missing_ok=True)
    words = [f"{name}={value}" for name, value in {"RETRY_MS": RETRY_MS, **settings}.items()]
    done = subprocess.run(
        ["make", "-s", "ask", f"SERIAL={port}", *words],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [told.split() for told in (project / "asked.txt").read_text().splitlines()]


def over_a_disturbed_line(bundle, project, count, timeout_s):
    """Return the share of what was sent that the cloud answered, and the rest of the figures.

    Every answer is checked.
    """
    pixels = images(count, seed=3)
    score = ProgramSession(bundle.plan.programs["base"]).run({"pixels": pixels})[SCORE]
    disturber = Disturber(damage=0.01, drop=0.05, seed=4)
    with process("serve", bundle.path, "--port", 0) as (said, _):
        target = f"127.0.0.1:{said['port']}"
        says, base = labels_of(bundle, target, pixels)
        with line(disturber) as (near, far), gateway(bundle, far, target) as stop:
            answers = ask(project, pixels, near, timeout_s, DEADLINE_MS=5000)
            stop()
    assert [told[1] == "kept" for told in answers] == (score <= 0).tolist()
    sent = [row for row, told in enumerate(answers) if told[1] != "kept"]
    assert all(int(answers[row][2]) == base[row] for row in range(count) if row not in sent)
    assert 0 < len(sent) < count
    assert disturber.damaged > 0
    assert disturber.dropped > 0
    renumbered = [[str(number), *answers[row][1:]] for number, row in enumerate(sent)]
    share = check(renumbered, [says[row] for row in sent], [base[row] for row in sent])
    return share, {
        "images": count,
        "asked": len(sent),
        "answered by the cloud": round(share * len(sent)),
        "bytes damaged": disturber.damaged,
        "frames dropped": disturber.dropped,
    }


def test_board_asks_what_its_router_sends(bundle, project):
    share, _ = over_a_disturbed_line(bundle, project, 20, timeout_s=120)
    assert share > 0.5


@pytest.mark.slow
def test_board_asks_for_a_thousand_images(bundle, project, record_property):
    share, figures = over_a_disturbed_line(bundle, project, 1000, timeout_s=900)
    assert share > 0.8
    for name, figure in figures.items():
        record_property(name, figure)


def test_board_without_a_gateway_answers_itself_and_says_so(bundle, project):
    base = ProgramSession(bundle.plan.programs["base"])
    pixels = images(40, seed=3)
    pixels = pixels[base.run({"pixels": pixels})[SCORE] > 0][:2]
    labels = base.run({"pixels": pixels})["logits"].argmax(axis=1)
    with line(Disturber()) as (near, _):
        answers = ask(project, pixels, near, TRIES=3, RETRY_MS=50)
    assert answers == [[str(row), "base", str(label), "6", "0"] for row, label in enumerate(labels)]
