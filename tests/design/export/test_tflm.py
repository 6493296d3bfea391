import json
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from micro_pairs import SIDE, mobile_base, needs_tflm, parts_of, pictures, router
from onnx import helper
from torch import nn

from hybridge.cost.device import device_named
from hybridge.design.export.onnx_steps import read_steps
from hybridge.design.export.router_parts import read_router
from hybridge.design.export.tflm import Images, export_tflm
from hybridge.design.export.tflm_check import Agreement, check_agreement
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.query.make_plan import make_plan
from hybridge.errors import ConfigError, MissingExtraError, SignatureError
from hybridge.plan.bundle import Bundle
from hybridge.plan.tensors import Geometry
from tiny_plans import images, pair_plan

CLASSES = 4
GEOMETRY = Geometry(height=SIDE, width=SIDE)


@pytest.fixture(scope="module")
def made():
    return router(classes=CLASSES)


@pytest.fixture(scope="module")
def bundle(made, tmp_path_factory):
    base = mobile_base(CLASSES)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, CLASSES))
    other = PixelNetwork(linear, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()
    names = ("cat", "dog", 'an "owl"', "eel")
    folder = tmp_path_factory.mktemp("programs")
    return Bundle(
        make_plan(
            base, made, other, geometry=GEOMETRY, class_names=names, directory=folder, threshold=0.1
        )
    )


@pytest.fixture(scope="module")
def exported(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tflm")
    held_out = pictures(150, seed=1)
    labels = np.zeros(len(held_out), dtype=np.int64)
    device = device_named("stm32f746")
    return folder, export_tflm(bundle, folder, pictures(60), Images(held_out, labels), device)


@needs_tflm
def test_integers_answer_and_decide_as_the_bundle_does(exported):
    _, report = exported
    found = report.agreement
    assert found.images == 150
    assert found.same_class >= 0.95
    assert abs(found.integer_accuracy - found.float_accuracy) <= 0.05
    assert found.router_decisions >= 0.99
    assert found.equal_decisions >= 0.93
    assert found.unequal_elsewhere <= 150 * (1 - found.equal_decisions) + 0.5


@needs_tflm
def test_integers_that_answer_otherwise_are_refused_and_reported(bundle, tmp_path, monkeypatch):
    found = Agreement(images=100, same_class=0.17, router_decisions=1.0)
    monkeypatch.setattr("hybridge.design.export.tflm.agreement", lambda *_: found)
    why = r"expected the same class.*at least 90% of 100 images, got 17\.00%: give .*int16"
    with pytest.raises(ConfigError, match=why):
        export_tflm(bundle, tmp_path, pictures(20), Images(pictures(5, seed=1)), bits=8)
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["agreement"]["images"] == 100


@pytest.mark.parametrize("bits", [8, 16])
def test_a_router_that_decides_otherwise_is_refused(bits):
    found = Agreement(images=100, same_class=1.0, router_decisions=0.94)
    with pytest.raises(ConfigError, match=r"decision of the router.*at least 95%.*94\.00%") as told:
        check_agreement(found, bits)
    assert ("int16" in str(told.value)) == (bits == 8)
    check_agreement(found.model_copy(update={"router_decisions": 0.95}), bits)
    check_agreement(found.model_copy(update={"images": 99}), bits)


@needs_tflm
def test_the_report_is_written_and_knows_the_sizes(exported):
    folder, report = exported
    assert json.loads((folder / "report.json").read_text()) == report.model_dump(mode="json")
    assert (folder / "base.tflite").stat().st_size == report.base.flash_bytes
    assert (folder / "hybrid.tflite").stat().st_size == report.hybrid.flash_bytes
    assert 1000 < report.base.arena_bytes < report.hybrid.arena_bytes
    assert report.router_in_c.arena_bytes < 1024


@needs_tflm
def test_time_and_energy_are_told_by_the_profile(exported):
    _, report = exported
    told = report.by_profile
    assert (told.device, told.power_mw) == ("stm32f746", 250)
    assert 0 < told.base_ms < told.with_router_ms
    assert told.base_mj == pytest.approx(0.25 * told.base_ms)
    assert told.with_router_mj == pytest.approx(0.25 * told.with_router_ms)


@needs_tflm
def test_the_threshold_in_integers_parts_the_same_scores(exported):
    _, report = exported
    above, below = report.threshold_integer + 1, report.threshold_integer
    assert above * report.score_scale > report.threshold >= below * report.score_scale


@needs_tflm
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_what_is_written_in_c_compiles_and_says_the_same(exported):
    folder, report = exported
    (folder / "main.c").write_text(
        '#include <stdio.h>\n#include "hybridge_model.h"\n#include "hybridge_router.h"\n'
        "static const char* const names[] = HYBRIDGE_CLASS_NAMES;\n"
        'int main(void) { printf("%d %d %d %s", hybridge_model[4], HYBRIDGE_THRESHOLD, '
        "HYBRIDGE_MODEL_BYTES, names[2]); }\n"
    )
    sources = ["main.c", "hybridge_model.c", "hybridge_router.c"]
    command = ["gcc", "-std=gnu99", "-Wall", "-Wextra", "-Werror", *sources, "-o", "main"]
    subprocess.run(command, cwd=folder, check=True)
    told = subprocess.run([folder / "main"], capture_output=True, check=True, text=True).stdout
    size = report.base.flash_bytes
    assert told == f'{ord("T")} {report.threshold_integer} {size} an "owl"'


@needs_tflm
def test_the_sketch_registers_every_operator_of_the_base(exported):
    folder, report = exported
    sketch = (folder / "hybridge_example.cc").read_text()
    methods = re.findall(r"operators\.Add(\w+)\(\)", sketch)
    assert f"<{len(methods)}>" in sketch
    assert {"Conv2D", "Mean", "Mul"} <= set(methods)
    assert len(methods) <= len(report.operators)


@needs_tflm
def test_a_network_that_is_too_large_is_refused_and_names_layer_and_bytes(bundle, tmp_path):
    device = device_named("stm32f746")
    for part, what in (("sram_bytes", "SRAM"), ("flash_bytes", "flash")):
        small = getattr(device.memory, part).model_copy(update={"value": 5000})
        memory = device.memory.model_copy(update={part: small})
        smaller = device.model_copy(update={"memory": memory})
        with pytest.raises(ConfigError, match=rf"bytes of {what}.*has 5,000; layer '\S+' alone"):
            export_tflm(bundle, tmp_path / "out", pictures(20), device=smaller)
    assert not (tmp_path / "out").exists()


@needs_tflm
@pytest.mark.parametrize("part", ["sram_bytes", "flash_bytes"])
def test_a_router_that_does_not_fit_beside_its_base_is_named(part, bundle, exported, tmp_path):
    _, report = exported
    device = device_named("stm32f746")
    taken = report.base.arena_bytes if part == "sram_bytes" else report.base.flash_bytes
    small = getattr(device.memory, part).model_copy(update={"value": taken + 100})
    memory = device.memory.model_copy(update={part: small})
    smaller = device.model_copy(update={"memory": memory})
    why = r"the base with its router in C needs [\d,]+ bytes.*'[\w.]+ of the router' alone takes"
    with pytest.raises(ConfigError, match=why):
        export_tflm(bundle, tmp_path / "out", pictures(60), device=smaller)


@needs_tflm
def test_memory_is_compared_before_anything_is_interpreted(bundle, tmp_path, monkeypatch):
    device = device_named("stm32f746")
    small = device.memory.sram_bytes.model_copy(update={"value": 500})
    memory = device.memory.model_copy(update={"sram_bytes": small})
    smaller = device.model_copy(update={"memory": memory})
    monkeypatch.setattr("hybridge.design.export.tflm.MicroInterpreter", None)
    with pytest.raises(ConfigError, match=r"bytes of SRAM.*has 500; layer '\S+' alone"):
        export_tflm(bundle, tmp_path / "out", pictures(20), device=smaller)


def test_a_program_is_read_back_as_its_router(bundle, made):
    steps = read_steps(bundle.plan.programs["base"], pictures(1))
    read, wanted = read_router(steps), parts_of(made)
    assert (read.measure, read.class_count) == (wanted.measure, CLASSES)
    for name in ("temperature", "slope", "offset"):
        assert getattr(read, name) == pytest.approx(getattr(wanted, name))
    for (got, _), (weights, _) in zip(read.hidden, wanted.hidden, strict=True):
        assert got == pytest.approx(weights, abs=1e-6)


@needs_tflm
def test_an_operator_without_a_counterpart_is_named_with_the_way_round(tmp_path):
    bundle = Bundle(_plan_with(tmp_path, helper.make_node("Sin", ["float"], ["odd"], name="curl")))
    with pytest.raises(ConfigError, match=r"'curl'.*operator Sin.*--target cortex-m"):
        export_tflm(bundle, tmp_path / "out", images(20))


def _plan_with(folder, node):
    """Return a plan whose base has one odd operator."""
    plan = pair_plan(folder)
    program = plan.programs["base"]
    model = onnx.load(program.path)
    for reader in model.graph.node:
        if "float" in reader.input:
            reader.input[:] = ["odd" if name == "float" else name for name in reader.input]
    model.graph.node.insert(1, node)
    onnx.save(model, program.path)
    return plan


@needs_tflm
def test_a_score_that_is_not_made_of_the_logits_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a program with a router"):
        export_tflm(Bundle(pair_plan(tmp_path)), tmp_path / "out", images(20))


def test_images_of_another_size_or_too_few_are_refused(bundle, tmp_path):
    with pytest.raises(SignatureError, match="expected at least 16 uint8 images of"):
        export_tflm(bundle, tmp_path, images(20))
    with pytest.raises(SignatureError, match="at least 16"):
        export_tflm(bundle, tmp_path, pictures(3))


def test_without_the_interpreter_it_is_said_what_to_install(bundle, tmp_path, monkeypatch):
    for name in [*sys.modules]:
        if name.partition(".")[0] == "tflite_micro":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(MissingExtraError, match=r"hybridge\[tflm\]"):
        export_tflm(bundle, tmp_path / "out", pictures(20))
