"""``dashboard``: a page that is served until it is interrupted."""

import json
import signal
import subprocess
from urllib.request import urlopen

import pytest
from processes import command


@pytest.fixture
def log(call, shared_bundle, pictures, tmp_path):
    path = tmp_path / "log.jsonl"
    images = ("--keep-images", tmp_path / "kept")
    assert call("run", shared_bundle.path, *pictures, "--log", path, *images).status == 0
    return path


def test_the_page_is_served_until_it_is_interrupted(log, shared_bundle, pictures, tmp_path):
    options = ("--bundle", shared_bundle.path, "--images", tmp_path / "kept", "--port", 0)
    process = subprocess.Popen(
        command("dashboard", log, *options, bare=True),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ready = json.loads(process.stdout.readline())
        assert ready["url"] == f"http://127.0.0.1:{ready['port']}/"
        assert b"Hybridge live" in urlopen(ready["url"], timeout=10).read()
        state = json.load(urlopen(ready["url"] + "state.json", timeout=10))
        assert state["seen"] == len(pictures)
        assert {each["label"] for each in state["requests"]} <= {"cat", "dog", "owl"}
        assert state["figures"]["threshold"] == shared_bundle.plan.root.then.chooser.threshold
        picture = state["requests"][0]["image"]
        assert urlopen(f"{ready['url']}images/{picture}", timeout=10).read(4) == b"\x89PNG"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    finally:
        process.kill()
        _, err = process.communicate()
    assert err == ""


def test_what_cannot_be_shown_is_refused(call, log, shared_bundle, tmp_path):
    call("dashboard", tmp_path).assert_refused("got the folder")
    call("dashboard", log, "--metrics", "file:///etc/passwd").assert_refused("address of metrics")
    call("dashboard", log, "--bundle", tmp_path).assert_refused("not a bundle")
    call("dashboard", log, "--host", "203.0.113.1").assert_refused("cannot listen")
