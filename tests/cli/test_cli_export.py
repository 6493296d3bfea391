import importlib.util
import json

import numpy as np
import pytest

from hybridge.design.export import cortex_m, tflm
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

    def export(bundle, folder, calibration, held_out, device, bits):
        asked.update(
            folder=folder, calibration=calibration, held_out=held_out, device=device, bits=bits
        )
        size = Size(flash_bytes=2000, arena_bytes=1000)
        return tflm.TflmReport(
            program="base", operators=("CONV_2D",), base=size, router=size, hybrid=size,
            router_in_c=Size(flash_bytes=100, arena_bytes=10), router_arena_percent=1.0,
            router_flash_percent=5.0, hybrid_arena_percent=3.0, router_macs=9, router_error=0.0,
            threshold=0.2, threshold_integer=70, score_scale=0.003, activation_bits=bits,
            calibration_images=8,
            agreement=Agreement(
                images=4, same_class=1.0, float_accuracy=0.5, integer_accuracy=0.5,
                equal_decisions=0.98, router_decisions=1.0, near_threshold=0, unequal_elsewhere=0,
            ),
            device=device.name,
        )  # fmt: skip

    monkeypatch.setattr(tflm, "export_tflm", export)
    return asked


@pytest.fixture
def in_floats(monkeypatch):
    """Stands in for the export to C: keeps what it was asked."""
    asked = {}

    def export(bundle, folder, pixels, memory):
        asked.update(folder=folder, pixels=pixels, memory=memory)
        program = cortex_m.ProgramReport(
            text_bytes=9000, data_bytes=8, bss_bytes=7000, arena_bytes=500, arena_peak_node="conv",
            stack_bytes=300, instructions=100_000.0, least_instructions=99_000,
            most_instructions=102_000, largest_difference=2e-7,
        )  # fmt: skip
        return cortex_m.CortexMReport(
            program="base", images=len(pixels), base=program,
            base_and_router=program.model_copy(update={"instructions": 101_000.0}),
            extra_instructions_percent=1.0, equal_decisions=len(pixels),
        )  # fmt: skip

    monkeypatch.setattr(cortex_m, "export_cortex_m", export)
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


def test_small_data_are_shared_between_calibration_and_comparison(call, bundle, data, exported):
    assert call("export", bundle, "--target", "tflm", "--data", data).status == 0
    assert exported["calibration"].tolist() == images(40)[:20].tolist()
    assert exported["held_out"].pixels.tolist() == images(40)[20:].tolist()


def test_data_too_small_for_both_are_told_in_a_line(call, bundle, tmp_path, exported):
    np.savez(tmp_path / "few.npz", pixels=images(31), labels=np.arange(31) % CLASSES)
    done = call("export", bundle, "--target", "tflm", "--data", f"arrays:{tmp_path / 'few.npz'}")
    done.assert_refused("expected at least 32 images")


@pytest.mark.parametrize(("word", "bits"), [("int8", 8), ("int16", 16)])
def test_bits_between_layers_are_chosen_by_name(call, bundle, data, exported, word, bits):
    done = call("export", bundle, "--target", "tflm", "--data", data, "--activations", word)
    assert exported["bits"] == bits
    assert f"activations in {bits} bits" in done.out
    assert ("--activations int16 keeps more" in done.out) == (bits == 8)


def test_cortex_m_takes_the_first_images_and_the_memory_of_the_device(
    call, bundle, data, in_floats
):
    done = call("export", bundle, "--target", "cortex-m", "--images", "7", "--data", data)
    assert done.status == 0, done.err
    assert in_floats["pixels"].tolist() == images(40)[:7].tolist()
    assert in_floats["memory"] == cortex_m.Memory(flash_bytes=1024 * 1024, ram_bytes=320 * 1024)
    assert in_floats["folder"] == bundle.with_name("bundle-cortex-m")
    assert "1.00 % of instructions" in done.out
    assert "101,000 instructions" in done.out


@pytest.mark.parametrize("option", [("--calibration", "8"), ("--activations", "int8")])
def test_what_floating_point_has_no_use_for_is_refused(call, bundle, data, in_floats, option):
    done = call("export", bundle, "--target", "cortex-m", "--data", data, *option)
    done.assert_refused("--target cortex-m is in floating point")


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
