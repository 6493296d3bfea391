"""The benchmark of microcontrollers: what it keeps, what it leaves out, and by which power."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridge.cost.device import device_named
from hybridge.design.export.edge_program import edge_program
from hybridge.design.export.tflm import Images
from hybridge.errors import ConfigError, MissingToolError
from hybridge.plan.bundle import Bundle
from tiny_plans import images, pair_plan

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import microcontroller
from pages.microcontroller import _of_table_9

from hybridge.cost.price import energy_mj


@pytest.fixture
def given(tmp_path):
    bundle = Bundle(pair_plan(tmp_path))
    held = Images(images(3), np.arange(3))
    device = device_named("stm32f746")
    edge = edge_program(bundle.plan)
    return microcontroller.Given(bundle, edge, images(2), held, device, tmp_path)


def test_energy_beside_table_9_goes_by_its_power_alone():
    board = device_named("stm32f746")
    assert energy_mj(_of_table_9(board), 253.68, 0.0, 0.0) == pytest.approx(111.2, abs=0.1)
    assert energy_mj(board, 253.68, 0.0, 0.0) == pytest.approx(63.4, abs=0.1)
    other = device_named("xiaomi-mi6x")
    assert _of_table_9(other) is other


def test_other_images_or_another_device_have_another_folder(given):
    about = (given.bundle, given.calibration, given.images, given.device)
    key = microcontroller.key_of(*about)
    others = [
        (images(3), given.images, given.device),
        (given.calibration, Images(images(2), np.arange(2)), given.device),
        (given.calibration, replace(given.images, labels=None), given.device),
        (given.calibration, given.images, device_named("xiaomi-mi6x")),
    ]
    keys = {microcontroller.key_of(given.bundle, *other) for other in others}
    assert len(keys | {key}) == 5
    assert microcontroller.key_of(*about) == key


def test_missing_tools_are_left_out_and_nothing_else(given, monkeypatch):
    def fails(error):
        def export(*_):
            raise error

        monkeypatch.setattr(microcontroller, "export_cortex_m", export)

    fails(MissingToolError("no make"))
    assert microcontroller.in_qemu(given) is None
    fails(ConfigError("it differs from onnxruntime"))
    with pytest.raises(ConfigError, match="differs"):
        microcontroller.in_qemu(given)


def test_a_part_that_failed_leaves_no_report(given, monkeypatch):
    def refuses(bundle, folder, *_, bits):
        folder.mkdir()
        (folder / "report.json").write_text("{}")
        raise ConfigError("17 % say the same")

    monkeypatch.setattr(microcontroller, "export_tflm", refuses)
    for _ in range(2):
        with pytest.raises(ConfigError, match="17 %"):
            microcontroller.in_integers(given, 8)


def test_figures_of_failed_tests_are_not_kept(given, monkeypatch):
    def fails(command, check):
        Path(command[-1]).write_text("<testsuites/>")
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fails)
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            microcontroller.over_serial(given)
