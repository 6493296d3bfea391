"""``serve`` in a process of its own, and ``run`` against it."""

import json
import signal
import socket

import pytest
from processes import serving
from tiny_bundle import make_bundle

from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport
from tiny_plans import images


@pytest.fixture(scope="module")
def served(shared_bundle):
    with serving(shared_bundle.path) as (ready, _):
        yield f"{ready['host']}:{ready['port']}"


def test_run_against_serve(call, shared_bundle, arrays, served):
    called = call(
        "run", shared_bundle.path, "--data", f"arrays:{arrays}", "--cloud", served, "--json"
    )
    assert (called.status, called.err) == (0, "")
    *answers, last = map(json.loads, called.out.splitlines())
    rehearsal = shared_bundle.rehearsal
    assert last["summary"]["query_rate"] == last["summary"]["query_rate_wanted"] == 0.5
    assert last["summary"]["failed"] == 0
    assert last["summary"]["bytes_sent"] == 48 * len(rehearsal) / 2
    for row, answer in enumerate(answers):
        leaf = ((1,), "raw") if answer["source"] == "cloud" else ((0,), None)
        assert answer["label"] == rehearsal.probabilities[leaf][row].argmax()


def test_several_bundles_in_one_server(tmp_path):
    one, two = make_bundle(tmp_path / "one", "one"), make_bundle(tmp_path / "two", "two")
    with serving(one.path, two.path, "--max-batch", 4, "--max-wait-ms", 1) as (ready, _):
        assert ready["programs"] == ["global", "one/global", "two/global"]
        target = f"127.0.0.1:{ready['port']}"
        for bundle in (one, two):
            with EdgeRuntime(bundle, GrpcTransport(target)) as runtime:
                answers = runtime.predict_batch(list(images(8)))
            assert {answer.source for answer in answers} == {"edge", "cloud"}


def test_bundles_of_one_recipe_can_be_named(tmp_path):
    one, two = make_bundle(tmp_path / "one"), make_bundle(tmp_path / "a=b")
    with serving(f"old={one.path}", f"new={two.path}", two.path) as (ready, _):
        assert ready["programs"] == ["global", "new/global", "old/global", "tiny/global"]


def test_serve_loads_cloud_programs_only(own_bundle):
    (own_bundle.path / "programs/base.onnx").unlink()
    with serving(own_bundle.path) as (ready, _):
        assert ready["programs"] == ["global", "tiny/global"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quietly(shared_bundle, number):
    with serving(shared_bundle.path) as (_, process):
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_told_in_one_line(call, shared_bundle):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = call("serve", shared_bundle.path, "--port", port)
    called.assert_refused(str(port), "in use")


def test_what_cannot_be_served(call, tmp_path, own_bundle):
    call("serve", f"={own_bundle.path}").assert_refused("NAME=FOLDER")
    call("serve", tmp_path / "nowhere").assert_refused("nowhere", "not a bundle")
    call("serve", own_bundle.path, "--max-batch", 0).assert_refused("max_batch")
    call("serve", own_bundle.path, "--port", 70000).assert_refused("--port")
    program = own_bundle.path / "programs/global.onnx"
    program.write_bytes(b"?" + program.read_bytes()[1:])
    call("serve", own_bundle.path).assert_refused("global.onnx", "damaged")
