"""Who may speak with whom, and what is refused before anything is sent."""

from pathlib import Path

import pytest

from certificates import Authority
from hybridge.errors import ConfigError
from hybridge.loopback import is_loopback
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.wire import trust
from hybridge.runtime.wire.message import Message
from hybridge.runtime.wire.tokens import Tokens, read_token, read_tokens
from hybridge.runtime.wire.trust import Access, ServerTls, Tls, stays_here
from tiny_plans import pair_programs

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trust")


@pytest.fixture(scope="module")
def authority(folder):
    return Authority(folder, "authority")


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("127.0.0.1:8001", True),
        ("127.8.9.10:8001", True),
        ("localhost:8001", True),
        ("LOCALHOST.:8001", True),
        ("localhost", True),
        ("[::1]:8001", True),
        ("ipv4:127.0.0.1:8001", True),
        ("ipv6:[::1]:8001", True),
        ("dns:///localhost:8001", True),
        ("unix:/run/cloud.sock", True),
        ("0.0.0.0:8001", False),
        ("[::]:8001", False),
        ("10.0.0.1:8001", False),
        ("cloud.example:8001", False),
        ("localhost.example:8001", False),
        ("127.0.0.1.example:8001", False),
        # These are whole addresses, and no address of loopback.
        ("::1:8001", False),
        ("[::1", False),
        ("ipv4:127.0.0.1:8001,10.0.0.1:8001", False),
        ("dns://10.0.0.1/localhost:8001", False),
        ("xds:///localhost", False),
        ("localhost:8001@cloud.example:1", False),
        ("", False),
    ],
)
def test_plaintext_is_for_this_machine(target, stays):
    assert stays_here(target) is stays
    if not stays:
        with pytest.raises(ConfigError, match="plaintext"):
            GrpcTransport(target, token=TOKEN)
        GrpcTransport(target, token=TOKEN, insecure=True).close()


def test_a_server_listens_beyond_this_machine_only_if_told(folder, authority):
    models = Models({"pets": pair_programs(folder).values()})
    for host in ("0.0.0.0", "::", "192.0.2.1", "", "cloud.example"):
        assert not is_loopback(host)
        with pytest.raises(ConfigError, match="plaintext"), serving(models, host):
            pass
    with serving(models, "0.0.0.0", access=Access(insecure=True)) as target:
        assert target.startswith("0.0.0.0")
    pair = authority.pair("listener")
    with serving(models, "0.0.0.0", access=Access(ServerTls(pair.cert, pair.key))) as target:
        assert target.startswith("0.0.0.0")


def test_no_proxy_takes_what_should_stay_here(folder, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:9")
    with (
        serving(Models({"pets": pair_programs(folder).values()})) as target,
        GrpcTransport(target, 5000) as transport,
        pytest.raises(Exception, match="NOT_FOUND"),
    ):
        transport.send(Message("nothing", "0" * 64, {}))


def test_files_that_are_not_what_they_should_be_are_named(folder, authority):
    one, other = authority.pair("one"), authority.pair("other")
    secret = folder / "secret"
    secret.write_text("not PEM at all")
    faults = [
        (lambda: ServerTls(one.cert, other.key), ["one.pem", "other.key"]),
        (lambda: ServerTls(one.key, one.cert), ["one.key"]),
        (lambda: ServerTls(secret, one.key), ["secret"]),
        (lambda: ServerTls(one.cert, folder / "gone"), ["gone", "No such file"]),
        (lambda: ServerTls(one.cert, one.key, secret), ["secret", "authorities"]),
        (lambda: ServerTls(one.cert, one.key, one.key), ["one.key", "authorities"]),
        (lambda: GrpcTransport("c:1", tls=Tls(secret)), ["secret"]),
        (lambda: GrpcTransport("c:1", tls=Tls(None, one.cert, other.key)), ["other.key"]),
        (lambda: Tls(cert=one.cert), ["give both"]),
    ]
    for make, parts in faults:
        with pytest.raises(ConfigError) as caught:
            make()
        for part in parts:
            assert part in str(caught.value)


def test_a_file_of_tokens(folder):
    path = folder / "tokens"
    path.write_text(f"# devices\n\n{TOKEN}\r\n  other-token-of-16-characters== \n")
    tokens = Tokens(path)
    assert len(tokens) == 2
    assert tokens.accepts(f"Bearer {TOKEN}")
    assert tokens.accepts(f"bearer {TOKEN}")
    for header in ("", "Bearer", f"Bearer  {TOKEN}", f"Bearer {TOKEN} ", TOKEN, f"Basic {TOKEN}"):
        assert not tokens.accepts(header)
    assert not tokens.accepts("Bearer " + "é" * 100_000)
    with pytest.raises(ConfigError, match=r"one token.*got 2"):
        read_token(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "at least one token"),
        (b"# only words\n", "at least one token"),
        (b"short\n", "line 1"),
        (TOKEN.encode() + b"\nwith two words in it\n", "line 2"),
        (b"\xff\xfe" * 20, "line 1"),
        (b"x" * 5000, "line 1"),
        (b"x" * (2 << 20), "at most"),
    ],
)
def test_what_is_no_token_is_named_by_its_line_and_never_shown(folder, content, match):
    path = folder / "bad"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=match) as caught:
        read_tokens(path)
    assert "two words" not in str(caught.value)
    assert "xxxx" not in str(caught.value)


def test_secrets_do_not_show(folder, authority):
    path = folder / "tokens"
    path.write_text(TOKEN)
    pair = authority.pair("shown")
    access = Access(ServerTls(pair.cert, pair.key), Tokens(path))
    with GrpcTransport("127.0.0.1:1", token=TOKEN) as transport:
        shown = f"{access!r} {access.tls!r} {access.tokens!r} {vars(access.tokens)} {transport!r}"
    assert TOKEN not in shown
    assert "PRIVATE" not in shown
    with pytest.raises(ConfigError) as caught:
        GrpcTransport("127.0.0.1:1", token=f"{TOKEN} and a word")
    assert TOKEN not in str(caught.value)


def test_what_is_renewed_counts_and_what_cannot_be_stays(folder, authority):
    path = folder / "renewed"
    path.write_text(TOKEN)
    pair = authority.pair("renewed")
    access = Access(ServerTls(pair.cert, pair.key), Tokens(path))
    path.write_text("a-token-that-came-later")
    access.renew()
    assert access.tokens.accepts("Bearer a-token-that-came-later")
    assert not access.tokens.accepts(f"Bearer {TOKEN}")
    path.write_text("short")
    pair.key.write_text("broken")
    with pytest.raises(ConfigError, match=r"renewed, line 1.*renewed\.key"):
        access.renew()
    assert access.tokens.accepts("Bearer a-token-that-came-later")


def test_a_certificate_can_be_renewed_while_it_serves(folder, authority):
    older, newer = authority.pair("changing", ends_days=0.5), Authority(folder, "newer")
    tls = ServerTls(older.cert, older.key)
    models = Models({"pets": pair_programs(folder).values()})

    def ask(target, ca):
        with GrpcTransport(target, 5000, tls=Tls(ca)) as transport:
            transport.send(Message("nothing", "0" * 64, {}))

    with serving(models, access=Access(tls)) as target:
        with pytest.raises(Exception, match="NOT_FOUND"):
            ask(target, authority.ca)
        newer.pair("changing")  # in place of the older one
        tls.renew()
        with pytest.raises(Exception, match="NOT_FOUND"):
            ask(target, newer.ca)
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            ask(target, authority.ca)


def test_a_pair_that_is_renewed_while_it_is_read_is_read_again(folder, authority, monkeypatch):
    """What OpenSSL has made sure of is what gRPC is given."""
    pairs = [authority.pair("renewed-1"), authority.pair("renewed-2")]
    cert, key = folder / "while.pem", folder / "while.key"
    reads = []

    def read(path, what):
        content = read_file(path, what)
        reads.append(path)
        if len(reads) == 1:  # both are replaced between the first read and OpenSSL's
            put(1)
        return content

    def put(turn):
        cert.write_bytes(Path(pairs[turn].cert).read_bytes())
        key.write_bytes(Path(pairs[turn].key).read_bytes())

    put(0)
    read_file = trust._read
    monkeypatch.setattr(trust, "_read", read)
    assert trust._read_pair(cert, key) == (cert.read_bytes(), key.read_bytes())
