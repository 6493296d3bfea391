"""What commands are told of the cloud's address, of TLS, tokens and keys."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from hybridge.runtime.edge.grpc import GrpcTransport
    from hybridge.runtime.wire.trust import Access, Tls

#: A name or an IPv4 address, or an IPv6 address in brackets; then a port.
_TARGET = re.compile(r"(?:[\w.-]+|\[([^\[\]]+)\]):([0-9]{1,5})")

TrustedKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--trusted-key",
        metavar="FILE",
        help="Take bundles only if signed by this public key; may be given several times.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Tokens of which every request must carry one, each on its own line."
    ),
]
Encrypts = Annotated[
    bool, typer.Option("--tls", help="Encrypt what goes to the cloud; so do the next three.")
]
CloudAuthority = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca", metavar="FILE", help="The authority that vouches for the cloud, as PEM."
    ),
]
OwnCertificate = Annotated[
    Path | None,
    typer.Option(
        "--tls-cert", metavar="FILE", help="This end's certificate, where the cloud asks."
    ),
]
OwnKey = Annotated[
    Path | None,
    typer.Option("--tls-key", metavar="FILE", help="The private key of that certificate."),
]
OwnToken = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="The token to ask the cloud with."),
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow plaintext beyond this machine.")]


@dataclass(frozen=True, slots=True)
class Entry:
    """How a client gets in at the cloud.

    Attributes:
        tls: How it encrypts; in plaintext where None.
        token: What it shows, if anything.
        insecure: Whether it may speak beyond this machine in plaintext.
    """

    tls: "Tls | None" = None
    token: str | None = field(default=None, repr=False)
    insecure: bool = False


def access_of(
    cert: Path | None,
    key: Path | None,
    client_ca: Path | None,
    token_file: Path | None,
    insecure: bool,
) -> "Access":
    """Return who may ask a server; raises `ConfigError` for what does not go together."""
    from hybridge.runtime.wire.tokens import Tokens
    from hybridge.runtime.wire.trust import Access, ServerTls

    if (cert is None) != (key is None):
        raise ConfigError("--tls-cert and --tls-key go together; give both")
    if cert is None and client_ca is not None:
        raise ConfigError("--client-ca needs TLS; give --tls-cert and --tls-key too")
    tls = None if cert is None or key is None else ServerTls(cert, key, client_ca)
    return Access(tls, None if token_file is None else Tokens(token_file), insecure)


def entry_of(
    tls: bool,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    token_file: Path | None,
    insecure: bool,
) -> Entry:
    """Return how a client gets in; raises `ConfigError` for what does not go together."""
    from hybridge.runtime.wire.tokens import read_token
    from hybridge.runtime.wire.trust import Tls

    if (cert is None) != (key is None):
        raise ConfigError("--tls-cert and --tls-key go together; give both")
    encrypts = tls or ca is not None or cert is not None
    token = None if token_file is None else read_token(token_file)
    return Entry(Tls(ca, cert, key) if encrypts else None, token, insecure)


def transport_to(cloud: str, entry: Entry) -> "GrpcTransport":
    """Return what carries messages to ``cloud``, let in by ``entry``; it connects on first use.

    Raises `ConfigError` where ``cloud`` is not HOST:PORT, or would be asked in plaintext, unasked
    for.
    """
    from hybridge.runtime.edge.grpc import GrpcTransport

    if not _is_target(cloud):
        raise ConfigError(
            f"--cloud: expected HOST:PORT, such as cloud.example:8001 or [::1]:8001, got {cloud!r}"
        )
    return GrpcTransport(cloud, tls=entry.tls, token=entry.token, insecure=entry.insecure)


def _is_target(text: str) -> bool:
    match = _TARGET.fullmatch(text)
    if match is None or not 0 < int(match[2]) < 1 << 16:
        return False
    try:
        return match[1] is None or bool(ipaddress.IPv6Address(match[1]))
    except ValueError:
        return False
