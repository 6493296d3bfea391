"""``serve`` in a process of its own, and ``run`` against it."""

import json
import signal
import socket
import threading
import urllib.request

import pytest
from processes import serving
from tiny_bundle import make_bundle

from hybridge.plan.bundle import save_bundle
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport
from tiny_plans import LOGITS, PIXELS, images, write_program


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


def swap_in(bundle, tmp_path):
    """Replace a bundle's cloud program by another of the same name; returns the new bundle."""
    changed = write_program(tmp_path, "global", PIXELS, (LOGITS,), seed=77)
    plan = bundle.plan.model_copy(update={"programs": {**bundle.plan.programs, "global": changed}})
    return save_bundle(plan, bundle.path, metadata=bundle.metadata)


def sources(bundle, target):
    with EdgeRuntime(bundle, GrpcTransport(target)) as runtime:
        return {answer.source for answer in runtime.predict_batch(list(images(8)))}


def event(process, name):
    """Read standard error up to the event ``name``; a server that never tells it is ended."""
    patience = threading.Timer(60, process.kill)
    patience.start()
    try:
        for line in process.stderr:
            found = json.loads(line)
            if found["event"] == name:
                return found
    finally:
        patience.cancel()
    raise AssertionError(f"no event {name}")


def test_a_bundle_that_changes_is_served_without_a_pause(own_bundle, tmp_path):
    pytest.importorskip("prometheus_client")
    options = ["--log-json", "--watch", "--keep-old-s", 3600, "--metrics-port", 0]
    with serving(own_bundle.path, *options) as (ready, process):
        target = f"127.0.0.1:{ready['port']}"
        assert event(process, "started")["programs"] == ["global", "tiny/global"]
        new = swap_in(own_bundle, tmp_path)
        told = event(process, "reloaded")
        assert told["programs"]["global"] == new.plan.programs["global"].sha256[:12]
        # A device that has not followed yet still asks for the version it knows.
        for bundle in (new, own_bundle):
            assert "cloud" in sources(bundle, target)
        url = f"http://127.0.0.1:{ready['metrics_port']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            page = answer.read().decode()
    for bundle in (new, own_bundle):
        assert f'version="{bundle.plan.programs["global"].sha256[:12]}"' in page


def test_a_damaged_bundle_is_told_of_and_not_served(own_bundle):
    with serving(own_bundle.path, "--log-json") as (ready, process):
        program = own_bundle.path / "programs/global.onnx"
        content = program.read_bytes()
        program.write_bytes(b"?" + content[1:])
        process.send_signal(signal.SIGHUP)
        told = event(process, "not reloaded")
        assert told["level"] == "error"
        assert "global.onnx" in told["reason"]
        program.write_bytes(content)
        assert "cloud" in sources(own_bundle, f"127.0.0.1:{ready['port']}")
        process.send_signal(signal.SIGTERM)
        assert event(process, "drained")
        assert process.wait(20) == 0


def test_settings_that_cannot_be(call, own_bundle):
    call("serve", own_bundle.path, "--max-waiting", 0).assert_refused("max_waiting")
    call("serve", own_bundle.path, "--keep-old-s", -1).assert_refused("keep_old_s")
    call("serve", own_bundle.path, "--slow-ms", "nan").assert_refused("slow_ms")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = call("serve", own_bundle.path, "--port", 0, "--metrics-port", port)
    called.assert_refused(str(port), "metrics")


def test_what_ray_cannot_do_is_refused_rather_than_left_out(call, own_bundle):
    ray = ("serve", own_bundle.path, "--engine", "ray")
    call(*ray).assert_refused("--insecure")
    call(*ray, "--insecure", "--watch").assert_refused("--watch")
    call(*ray, "--insecure", "--metrics-port", 0).assert_refused("--metrics-port")
    call(*ray, "--insecure", "--metrics-host", "::1").assert_refused("--metrics-host")
    call(*ray, "--insecure", "--keep-old-s", 60).assert_refused("--keep-old-s")
    call(*ray, "--insecure", "--host", "127.0.0.1").assert_refused("--host", "every address")
    call("serve", own_bundle.path, "--replicas", 2).assert_refused("--replicas", "--engine ray")
    call(*ray, "--insecure", "--port", 0).assert_refused("--port")
    call(*ray, "--insecure", "--replicas", 0).assert_refused("replicas")
    call("serve", own_bundle.path, "--engine", "rye").assert_refused("local or ray")
