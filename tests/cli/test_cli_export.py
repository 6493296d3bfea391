import importlib.util
import json

import numpy as np
import pytest

from hybridge.design.export import tflm
from hybridge.design.export.tflm_check import Agreement, Size
from hybridge.plan.bundle import save_bundle
from tiny_plans import CLASSES, images, pair_plan

needs_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed"
)


@pytest.fixture
def bundle(tmp_path):
    return save_bundle(pair_plan(tmp_path), tmp_path / "bundle").path


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, pixels=images(40), labels=np.arange(40) % CLASSES)
    return f"arrays:{path}"


@pytest.fixture
def exported(monkeypatch):
    """Stands in for the export: keeps what it was asked."""
    asked = {}

    def export(bundle, folder, calibration, held_out, device):
        asked.update(folder=folder, calibration=calibration, held_out=held_out, device=device)
        size = Size(flash_bytes=2000, arena_bytes=1000)
        return tflm.TflmReport(
            program="base", operators=("CONV_2D",), base=size, router=size, hybrid=size,
            router_in_c=Size(flash_bytes=100, arena_bytes=10), router_arena_percent=1.0,
            router_flash_percent=5.0, hybrid_arena_percent=3.0, router_macs=9, router_error=0.0,
            threshold=0.2, threshold_integer=70, score_scale=0.003, calibration_images=8,
            agreement=Agreement(
                images=4, same_class=1.0, float_accuracy=0.5, integer_accuracy=0.5,
                equal_decisions=1.0, router_decisions=1.0, near_threshold=0, unequal_elsewhere=0,
            ),
            device=device.name,
        )  # fmt: skip

    monkeypatch.setattr(tflm, "export_tflm", export)
    return asked


def test_the_first_images_calibrate_and_those_after_are_compared(call, bundle, data, exported):
    options = ["--calibration", "20", "--images", "15", "--data", data]
    done = call("export", bundle, "--target", "tflm", *options)
    assert done.status == 0, done.err
    assert exported["calibration"].tolist() == images(40)[:20].tolist()
    assert exported["held_out"].pixels.tolist() == images(40)[20:35].tolist()
    assert exported["device"].name == "stm32f746"
    assert exported["folder"] == bundle.with_name("bundle-tflm")
    for told in ("1.00 %", "70 in integers", "100.00% of 4 images"):
        assert told in done.out


def test_the_report_is_printed_as_json(call, bundle, data, exported):
    done = call("export", bundle, "--target", "tflm", "--data", data, "--json")
    assert json.loads(done.out)["threshold_integer"] == 70


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--target", "arduino", "--data", "digits"], "'tflm', 'cortex-m'"),
        (["--target", "tflm", "--data", "nowhere:x"], "unknown kind of data"),
        (["--target", "tflm"], "--data"),
    ],
)
def test_wrong_options_are_told_in_a_line(call, bundle, options, told):
    done = call("export", bundle, *options)
    assert (done.status, done.out) == (2, "")
    assert told in " ".join(done.err.split())


def test_a_device_that_is_not_known_is_told_in_a_line(call, bundle, data):
    options = ["--target", "tflm", "--data", data, "--device", "stm32f747"]
    call("export", bundle, *options).assert_refused("did you mean 'stm32f746'")


@needs_tflm
def test_a_router_that_is_not_known_is_told_in_a_line(call, bundle, data):
    done = call("export", bundle, "--target", "tflm", "--data", data)
    done.assert_refused("expected a program with a router")
    assert not bundle.with_name("bundle-tflm").exists()
