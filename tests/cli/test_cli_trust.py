"""``serve`` and ``run`` over TLS, with tokens; plaintext on this machine alone."""

import json
import signal
import time

import pytest
from processes import serving

from certificates import Authority

TOKEN = "the-token-of-this-test"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("trust"), "authority")


def files(authority, name):
    pair = authority.pair(name)
    return ["--tls-cert", pair.cert, "--tls-key", pair.key]


def sources(called):
    return {json.loads(line)["source"] for line in called.out.splitlines()}


def eventually(ask):
    """Ask until no answer comes with a warning, for some seconds at most."""
    give_up_s = time.monotonic() + 20
    while (called := ask()).err and time.monotonic() < give_up_s:
        time.sleep(0.05)
    return called


def test_run_against_serve_with_certificates_and_a_token(
    call, shared_bundle, pictures, authority, tmp_path
):
    tokens, token = tmp_path / "tokens", tmp_path / "token"
    tokens.write_text("another-token-of-this-test\n")
    token.write_text(f"{TOKEN}\n")
    options = [*files(authority, "server"), "--client-ca", authority.ca, "--token-file", tokens]
    with serving(shared_bundle.path, *options) as (ready, process):
        cloud = f"127.0.0.1:{ready['port']}"
        asked = ["run", shared_bundle.path, *pictures, "--json", "--cloud", cloud]
        device = ["--tls-ca", authority.ca, *files(authority, "device"), "--token-file", token]
        refused = call(*asked, *device)
        assert "UNAUTHENTICATED" in refused.err
        assert sources(refused) == {"edge"}
        # Tokens are read again on a signal, while it serves.
        tokens.write_text(f"{TOKEN}\n")
        process.send_signal(signal.SIGHUP)
        taken = eventually(lambda: call(*asked, *device))
        assert (taken.status, taken.err) == (0, "")
        assert sources(taken) == {"edge", "cloud"}
        strangers = call(*asked, "--tls-ca", authority.ca, "--token-file", token)
        assert sources(strangers) == {"edge"}
        tokens.write_text("short\n")
        process.send_signal(signal.SIGHUP)
        assert sources(call(*asked, *device)) == {"edge", "cloud"}
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert "line 1" in err
    assert TOKEN not in err + refused.err + refused.out + strangers.err


def test_plaintext_beyond_this_machine_is_refused_at_both_ends(call, shared_bundle, pictures):
    call("serve", shared_bundle.path, "--host", "0.0.0.0").assert_refused("--tls-cert")
    run = ["run", shared_bundle.path, pictures[0], "--cloud", "192.0.2.1:1"]
    call(*run).assert_refused("192.0.2.1:1", "--tls-ca", "--insecure")
    assert call(*run, "--insecure", "--deadline-ms", 50).status == 0


def test_options_that_do_not_go_together(call, shared_bundle, pictures, authority, tmp_path):
    cert, key = authority.pair("lone").cert, authority.pair("lone").key
    serve, run = ["serve", shared_bundle.path], ["run", shared_bundle.path, pictures[0]]
    call(*serve, "--tls-cert", cert).assert_refused("--tls-key")
    call(*serve, "--client-ca", authority.ca).assert_refused("--tls-cert")
    call(*serve, "--token-file", tmp_path / "gone").assert_refused("gone")
    call(*serve, "--tls-cert", cert, "--tls-key", cert).assert_refused("lone.pem")
    cloud = ["--cloud", "127.0.0.1:1"]
    call(*run, *cloud, "--tls-key", key).assert_refused("--tls-cert")
    call(*run, *cloud, "--tls-ca", key).assert_refused("lone.key")
    call(*run, *cloud, "--token-file", tmp_path / "gone").assert_refused("gone")
    call(*run, "--tls").assert_refused("--cloud")
