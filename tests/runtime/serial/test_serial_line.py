"""Everything real: the C client, a disturbed line, `hybridge gateway`, and `hybridge serve`."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from c_end import compiled
from line import Disturber, line

from hybridge.codecs.codec import codec_named
from hybridge.plan.bundle import save_bundle
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import Message
from tiny_plans import images, pair_plan

HERE = Path(__file__).parent
FRAME_BYTES, WINDOW, RETRY_MS, TRIES = 64, 4, 40, 12
BASE, CLOUD = "base", "cloud"


def command(*words):
    return [sys.executable, "-m", "hybridge", *map(str, words)]


@contextmanager
def process(*words):
    """Run a command until the context ends; yields what it said first, and the process."""
    running = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        first = running.stdout.readline()
        assert first, running.stderr.read()
        yield json.loads(first), running
    finally:
        running.kill()
        running.communicate()


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    return compiled(HERE / "device.c", tmp_path_factory.mktemp("device") / "device")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial")
    return save_bundle(pair_plan(folder), folder / "bundle")


@pytest.fixture(scope="module")
def cloud(bundle):
    with process("serve", bundle.path, "--port", 0) as (said, running):
        yield f"127.0.0.1:{said['port']}", running


@contextmanager
def gateway(bundle, port, cloud):
    """Run `hybridge gateway`; yields a function that stops it and returns its statistics."""
    with process("gateway", port, "--cloud", cloud, "--bundle", bundle.path) as (said, running):
        assert said["event"] == "ready"

        def stop():
            running.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=20)
            assert (running.returncode, err) == (0, "")
            return json.loads(out)

        yield stop


def labels_of(bundle, target, pixels):
    """Return what the cloud itself and the base itself say."""
    programs = bundle.plan.programs
    global_ = programs["global"]
    with GrpcTransport(target) as transport:
        encoded = [codec_named("raw").encode(image[np.newaxis]) for image in pixels]
        messages = [Message("global", global_.sha256, {"pixels": item}) for item in encoded]
        replies = [transport.send(message, 5000) for message in messages]
    said = [int(reply.tensors["logits"][0].argmax()) for reply in replies]
    base = ProgramSession(programs["base"]).run({"pixels": pixels})["logits"]
    return said, base.argmax(axis=1).tolist()


def ask_all(device, port, bundle, pixels, base, left_ms, form=0, timeout_s=60):
    """Let the device ask for every image; returns a line of each answer, split."""
    program = bundle.plan.programs["global"].sha256[:16]
    if form == 2:  # int8, whose zero point is -128
        pixels = (pixels.astype(int) - 128).astype(np.int8)
    asks = [
        f"{label} {left_ms} {form} {program} {image.tobytes().hex()}\n"
        for label, image in zip(base, pixels, strict=True)
    ]
    arguments = [device, port, FRAME_BYTES, WINDOW, RETRY_MS, TRIES]
    done = subprocess.run(
        list(map(str, arguments)),
        input="".join(asks),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [told.split() for told in done.stdout.splitlines()]


def check(answers, said, base):
    """Every request has one answer: the cloud's own, or the base's, marked. Returns the share."""
    assert [int(index) for index, *_ in answers] == list(range(len(said)))
    for (_, source, label, *_), cloud_label, base_label in zip(answers, said, base, strict=True):
        assert source in (CLOUD, BASE)
        assert int(label) == (cloud_label if source == CLOUD else base_label)
    return sum(source == CLOUD for _, source, *_ in answers) / len(answers)


def distinct(bundle, target, count):
    """Images on which base and cloud mostly differ, so that one cannot pass for the other."""
    pixels = images(4 * count, seed=5)
    said, base = labels_of(bundle, target, pixels)
    rows = [row for row in range(len(pixels)) if said[row] != base[row]][:count]
    assert len(rows) == count
    return pixels[rows], [said[row] for row in rows], [base[row] for row in rows]


def over_a_disturbed_line(device, bundle, cloud, count, seed):
    pixels, said, base = distinct(bundle, cloud[0], count)
    disturber = Disturber(damage=0.01, drop=0.05, seed=seed)
    with line(disturber) as (near, far), gateway(bundle, far, cloud[0]) as stop:
        answers = ask_all(device, near, bundle, pixels, base, 3000, timeout_s=600)
        statistics = stop()
    share = check(answers, said, base)
    assert disturber.damaged > 0
    assert disturber.dropped > 0
    assert statistics["frames_damaged"] > 0
    assert statistics["replies"]["answered"] >= share * count
    return share, {
        "images": count,
        "asked": count,
        "answered by the cloud": round(share * count),
        "bytes damaged": disturber.damaged,
        "frames dropped": disturber.dropped,
        "asks that the gateway took": statistics["asks"],
    }


def test_fifty_requests_over_a_disturbed_line(device, bundle, cloud):
    share, _ = over_a_disturbed_line(device, bundle, cloud, 50, seed=1)
    assert share > 0.8


@pytest.mark.slow
def test_a_thousand_requests_over_a_disturbed_line(device, bundle, cloud, record_property):
    share, figures = over_a_disturbed_line(device, bundle, cloud, 1000, seed=2)
    assert share > 0.9
    assert figures["asks that the gateway took"] <= 1000
    for name, figure in figures.items():
        record_property(name, figure)


def test_a_cloud_that_goes_away_leaves_the_devices_own_answers(device, bundle):
    """On a quiet line: with the cloud every answer is its own, without it the base's at once."""
    with process("serve", bundle.path, "--port", 0) as (said, serving):
        target = f"127.0.0.1:{said['port']}"
        pixels, said, base = distinct(bundle, target, 6)
        with line(Disturber()) as (near, far), gateway(bundle, far, target) as stop:
            answers = ask_all(device, near, bundle, pixels, base, 20_000, form=2)
            assert check(answers, said, base) == 1
            serving.kill()
            serving.wait()
            answers = ask_all(device, near, bundle, pixels, base, 20_000)
            statistics = stop()
    assert check(answers, said, base) == 0
    assert {tuple(answer[3:]) for answer in answers} == {("4", "3")}  # refused: no cloud
    assert statistics["replies"]["no_cloud"] == 6
    assert statistics["frames_damaged"] == 0


def test_without_a_gateway_the_device_answers_itself(device, bundle):
    with line(Disturber()) as (near, _):
        answers = ask_all(device, near, bundle, images(1), [1], 10_000, timeout_s=15)
    assert answers == [["0", BASE, "1", "6", "0"]]
