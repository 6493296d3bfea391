import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from micro_pairs import logits, needs_tflm, parts_of, router

from hybridge.design.export.integer_layers import quantise, write_layers
from hybridge.design.export.micro_router import build_micro_router
from hybridge.design.export.router_in_c import scratch_bytes, write_router
from hybridge.design.export.tflite_file import Quantisation, TFLiteFile
from hybridge.design.export.tflm_run import MicroInterpreter
from hybridge.errors import ConfigError

STEP = 0.0025
LEAST = -16383 * STEP
MICRO = build_micro_router(parts_of(router()), LEAST)


def scores_of(made, given_):
    with torch.no_grad():
        return made.score(torch.from_numpy(given_).float()).numpy()


def in_integers(given_):
    return np.round(given_ / STEP).astype(np.int64)


def answered(layers, units):
    for layer in layers:
        units = layer(units)
    return units


ROUNDED = quantise(MICRO, STEP, logits(), 0.2)


@pytest.fixture
def layers():
    return ROUNDED


@pytest.mark.parametrize("measure", ["margin", "top1", None])
@pytest.mark.parametrize("classes", [3, 10, 13])
def test_layers_give_the_router_s_score(measure, classes):
    made = router(measure, classes)
    parts = parts_of(made)
    seen = logits(classes=classes)
    parts = replace(parts, class_count=classes)
    wanted = scores_of(made, seen)
    got = build_micro_router(parts, LEAST).score(seen)
    assert np.abs(got - wanted).max() < 0.05 * wanted.std()


@given(st.lists(st.integers(-16000, 16000), min_size=10, max_size=10))
def test_integers_are_sorted_without_error(numbers):
    units = answered(ROUNDED[: MICRO.exact], np.array([numbers]))
    gaps = units @ MICRO.layers[MICRO.exact].weights[:9].T
    ordered = np.sort(numbers)[::-1]
    assert gaps[0].tolist() == (ordered[0] - ordered[1:]).tolist()


@pytest.mark.parametrize("measure", ["margin", "top1", None])
def test_integers_decide_as_the_router_does(measure):
    made = router(measure)
    seen = in_integers(logits(4000, seed=3)) * STEP
    wanted = scores_of(made, seen.astype(np.float32))
    threshold = float(np.quantile(wanted, 0.7))
    rounded = quantise(build_micro_router(parts_of(made), LEAST), STEP, logits(), threshold)
    got = answered(rounded, in_integers(seen))[:, 0] * rounded[-1].gives
    assert ((got > threshold) == (wanted > threshold)).mean() >= 0.99


@pytest.mark.parametrize(("hidden", "classes"), [(True, 1000), (False, 20_000)])
def test_more_units_than_c_counts_are_refused(hidden, classes):
    parts = replace(parts_of(router()), class_count=classes)
    with pytest.raises(ConfigError, match=r"at most 32,767 units a layer, got [\d,]+ for"):
        build_micro_router(parts if hidden else replace(parts, hidden=()), LEAST)


def test_a_correction_shrunk_to_nothing_costs_no_layers():
    parts = parts_of(router())
    alone = build_micro_router(replace(parts, hidden=()), LEAST)
    assert len(alone.layers) < len(MICRO.layers)
    seen = logits()
    anchor = router().anchor
    with torch.no_grad():
        wanted = anchor(torch.from_numpy(seen)).numpy()
    assert np.abs(alone.score(seen) - wanted).max() < 0.05


def test_the_entropy_as_a_start_is_refused_and_says_the_way_round():
    with pytest.raises(ConfigError, match=r"router\.start: scratch"):
        build_micro_router(parts_of(router("entropy")), LEAST)


@needs_tflm
def test_the_interpreter_says_what_the_layers_say_to_the_bit(layers):
    file = TFLiteFile("router")
    file.inputs.append(file.tensor("logits", (1, 10), "int16", Quantisation((STEP,))))
    file.outputs.append(write_layers(file, layers, file.inputs[0]))
    seen = in_integers(logits(60, seed=5))
    (got,) = MicroInterpreter(file.pack(), "router").run(seen.astype(np.int16), 1)
    assert got.tolist() == answered(layers, seen).tolist()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_router_in_c_says_what_the_layers_say_to_the_bit(layers, tmp_path):
    write_router(tmp_path, layers)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "hybridge_router.h"\n'
        "int main(void) { int16_t z[10], s[HYBRIDGE_ROUTER_NUMBERS];\n"
        '  while (fread(z, 2, 10, stdin) == 10) printf("%d\\n", hybridge_router_score(z, s)); }\n'
    )
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    command = ["gcc", *flags, "main.c", "hybridge_router.c", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    seen = in_integers(logits(200, seed=6))
    given_ = seen.astype("<i2").tobytes()
    told = subprocess.run(
        [tmp_path / "main"], input=given_, capture_output=True, check=True
    ).stdout.split()
    assert [int(line) for line in told] == answered(layers, seen)[:, 0].tolist()
    assert scratch_bytes(layers) < 1024
