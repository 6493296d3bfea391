"""``gateway`` with what cannot work; what works is in tests/runtime/serial."""

import os
import tty

import pytest

from hybridge.plan.bundle import save_bundle
from hybridge.plan.variants import abstaining
from tiny_plans import pair_plan


@pytest.fixture
def port():
    master, slave = os.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


def asked(bundle):
    return ("--cloud", "127.0.0.1:9", "--bundle", bundle)


def test_ports_that_are_none(call, shared_bundle, tmp_path):
    (tmp_path / "file").write_text("text")
    gone, file = tmp_path / "ttyACM7", tmp_path / "file"
    call("gateway", gone, *asked(shared_bundle.path)).assert_refused("ttyACM7", "No such file")
    call("gateway", file, *asked(shared_bundle.path)).assert_refused("file", "/dev/ttyACM0")


def test_settings_that_cannot_be(call, shared_bundle, port):
    options = asked(shared_bundle.path)
    call("gateway", port, *options, "--baud", 115_201).assert_refused("115201", "115200")
    call("gateway", port, *options, "--most", 0).assert_refused("at least one ask", "got 0")
    call("gateway", port, *options[2:], "--cloud", "there").assert_refused("HOST:PORT", "'there'")
    url = "http://127.0.0.1:8001"
    call("gateway", port, *options[2:], "--cloud", url).assert_refused("HOST:PORT", url)
    call("gateway", port, *options[2:], "--cloud", "far:1").assert_refused("plaintext", "--tls-ca")
    call("gateway", port, *options, "--tls-cert", "a.pem").assert_refused("--tls-key")


def test_bundles_that_have_nothing_to_ask(call, tmp_path, port):
    call("gateway", port, *asked(tmp_path / "none")).assert_refused("none")
    saved = save_bundle(abstaining(pair_plan(tmp_path)), tmp_path / "bundle")
    call("gateway", port, *asked(saved.path)).assert_refused("nothing to ask")
