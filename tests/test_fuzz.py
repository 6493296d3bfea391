"""Whatever goes in, only errors of ours come out: the targets of `benchmarks/fuzz.py`, shortly."""

import importlib.util
import itertools
import json
import random
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridge.errors import BundleError, DataError, HybridgeError
from hybridge.plan.bundle import load_bundle, save_bundle
from hybridge.plan.manifest import write_manifest
from hybridge.plan.rehearsal import parse_rehearsal
from tiny_plans import pair_plan

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
shared = settings(max_examples=150, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.append(str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def mutated():
    from fuzzing.mutations import mutated

    return mutated


@pytest.fixture(scope="module")
def wire():
    from fuzzing.targets import Wire

    return Wire()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    from fuzzing.targets import Bundles

    return Bundles(tmp_path_factory.mktemp("fuzz"))


def take(target, data):
    with suppress(HybridgeError):
        target.run(data)


@shared
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_requests_and_replies_of_any_kind(wire, mutated, data, rng):
    take(wire, mutated(data.draw(st.sampled_from(wire.seeds)), wire.seeds, rng))


@shared
@given(data=st.binary(max_size=300))
def test_any_bytes_as_a_request(wire, data):
    take(wire, data)


@settings(shared, max_examples=60)
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_bundles_with_any_file_changed(bundles, mutated, data, rng):
    take(bundles, mutated(data.draw(st.sampled_from(bundles.seeds)), bundles.seeds, rng))


def test_what_is_nested_too_deep_is_refused(tmp_path):
    root = save_bundle(pair_plan(tmp_path), tmp_path / "bundle").path
    deep = "[" * 100_000
    (root / "manifest.json").write_text(deep)
    with pytest.raises(BundleError, match=r"manifest\.json: its lists or objects are nested"):
        load_bundle(root)
    (root / "manifest.json").unlink()
    (root / "bundle.json").write_text(deep)
    write_manifest(root)
    with pytest.raises(BundleError, match=r"bundle\.json: its lists or objects are nested"):
        load_bundle(root)


@pytest.mark.parametrize(
    ("header", "tensor"),
    [
        ({"programs": ["base"]}, "truth"),
        ({"programs": "[" * 50_000}, "truth"),
        ({}, '["probabilities", "root", null]'),
        ({}, '["score", ' + "[" * 50_000),
        ({}, '["other", []]'),
    ],
)
def test_a_rehearsal_of_another_kind_is_refused(header, tensor):
    whole = {"format": 1, "fingerprint": "f", "programs": {}, **header}
    empty = {"dtype": "I64", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({"__metadata__": {"rehearsal": json.dumps(whole)}, tensor: empty}).encode()
    with pytest.raises(DataError, match="expected a rehearsal"):
        parse_rehearsal(len(text).to_bytes(8, "little") + text)


def test_the_script_tells_what_it_found(tmp_path, capsys, monkeypatch):
    spec = importlib.util.spec_from_file_location("fuzz", BENCHMARKS / "fuzz.py")
    fuzz = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fuzz", fuzz)
    spec.loader.exec_module(fuzz)

    class Fragile:
        seeds = (b"\0seed of some length",)

        def run(self, data):
            if len(data) < 10:
                raise ZeroDivisionError
            if len(data) < 15:
                raise DataError("too short")

    # A second passes with every input, however long it takes.
    ticks = SimpleNamespace(monotonic=itertools.count().__next__, perf_counter=time.perf_counter)
    monkeypatch.setattr(fuzz, "time", ticks)
    found = fuzz.fuzz(Fragile(), random.Random(0), 200, tmp_path, tmp_path / "last.bin")
    assert found.runs == 199
    assert found.refused > 0
    (crash,) = found.crashes
    assert crash.startswith("ZeroDivisionError at test_fuzz.py:")
    assert len((tmp_path / "crash-1.bin").read_bytes()) < 10
    assert "kept as crash-1.bin" in capsys.readouterr().out
