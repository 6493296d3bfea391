"""Who may speak with whom over gRPC: TLS at both ends, and a server's tokens.

Plaintext is for one machine: neither end speaks it beyond loopback unless it is told to.
"""

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from hybridge.errors import ConfigError
from hybridge.loopback import is_loopback
from hybridge.runtime.wire.tokens import Tokens

#: How often files that change while they are read are read anew.
_TURNS = 3
_LOCAL_SOCKETS = ("unix:", "unix-abstract:")


@dataclass(frozen=True, slots=True)
class Tls:
    """How a client encrypts, and whom it trusts.

    Attributes:
        ca: PEM file of the authorities that may vouch for the server; gRPC's own, which are those
            of browsers, where None.
        cert: PEM file of the client's own certificate, chain included, where the server asks for
            one.
        key: PEM file of that certificate's private key.

    Raises `ConfigError` where only one of ``cert`` and ``key`` is given.
    """

    ca: Path | str | None = None
    cert: Path | str | None = None
    key: Path | str | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ConfigError("a client's certificate and its private key go together; give both")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what gRPC needs; raises `ConfigError` for files that are not what they should."""
        roots = None if self.ca is None else _read_authorities(self.ca)
        if self.cert is None or self.key is None:
            return grpc.ssl_channel_credentials(roots)
        cert, key = _read_pair(self.cert, self.key)
        return grpc.ssl_channel_credentials(roots, key, cert)


class ServerTls:
    """How a server proves who it is, and which clients it takes.

    Args:
        cert: PEM file of the server's certificate, chain included.
        key: PEM file of that certificate's private key.
        client_ca: PEM file of the authorities that must vouch for every client (mutual TLS);
            any client is taken where None.

    Raises `ConfigError` for files that are not what they should be.
    """

    def __init__(
        self, cert: Path | str, key: Path | str, client_ca: Path | str | None = None
    ) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._files = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return what gRPC needs; it asks for the newest files with every connection."""
        return grpc.dynamic_ssl_server_credentials(
            self._files, lambda: self._files, require_client_authentication=bool(self._client_ca)
        )

    def renew(self) -> None:
        """Read the files again, for connections to come; raises `ConfigError` and keeps the old."""
        self._files = self._read()

    def _read(self) -> grpc.ServerCertificateConfiguration:
        cert, key = _read_pair(self._cert, self._key)
        roots = None if self._client_ca is None else _read_authorities(self._client_ca)
        return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=roots)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask a server, and how.

    Attributes:
        tls: How it encrypts; in plaintext where None.
        tokens: Of which every request must carry one; none is asked for where None.
        insecure: Whether it may listen beyond this machine in plaintext.
    """

    tls: ServerTls | None = None
    tokens: Tokens | None = None
    insecure: bool = False

    def renew(self) -> None:
        """Read all files again; raises `ConfigError` for those that cannot be used."""
        faults = []
        for part in (self.tokens, self.tls):
            try:
                if part is not None:
                    part.renew()
            except ConfigError as error:
                faults.append(str(error))
        if faults:
            raise ConfigError("; ".join(faults))

    def check_host(self, host: str) -> None:
        """Raise `ConfigError` where listening at ``host`` would be in plaintext, unasked for."""
        if self.tls is None and not self.insecure and not is_loopback(host):
            raise ConfigError(
                f"listening at {host} in plaintext lets everybody on the way read and change what "
                "is asked; give a certificate and its key (--tls-cert, --tls-key), listen at "
                "127.0.0.1, or say --insecure"
            )


def open_channel(
    target: str, tls: Tls | None, options: Sequence[tuple[str, int]], *, insecure: bool
) -> grpc.Channel:
    """Return a channel to ``target``, which connects on first use.

    Raises `ConfigError` where it would be in plaintext beyond this machine and not ``insecure``,
    or where files that ``tls`` names cannot be used.
    """
    if tls is not None:
        return grpc.secure_channel(target, tls.credentials(), options=options)
    if stays_here(target):
        # A proxy that the environment names would take it elsewhere.
        return grpc.insecure_channel(target, options=[*options, ("grpc.enable_http_proxy", 0)])
    if not insecure:
        raise ConfigError(
            f"asking {target} in plaintext lets everybody on the way read and change what is "
            "asked; give the authority of its certificate (--tls-ca, or Tls(ca=...)), or say "
            "--insecure (insecure=True)"
        )
    return grpc.insecure_channel(target, options=options)


def stays_here(target: str) -> bool:
    """Return whether what is sent to a gRPC ``target`` stays on this machine; if unsure, no."""
    if target.startswith(_LOCAL_SOCKETS):
        return True
    address = re.sub(r"^(dns:(///)?|ipv4:|ipv6:)", "", target)
    # An address with colons is in brackets, or has no port: ``::1:8001`` is another host.
    bracketed = re.fullmatch(r"\[([^\]]+)\](:\d+)?", address)
    host = bracketed[1] if bracketed else re.sub(r"^([^:]*):\d+$", r"\1", address)
    return is_loopback(host)


def _read_authorities(path: Path | str) -> bytes:
    """Return a PEM file of authorities' certificates, of which OpenSSL can read one at least."""
    data = _read(path, "the certificates of authorities")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=data.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"{path}: expected certificates of authorities as PEM "
            "(-----BEGIN CERTIFICATE-----), got something else"
        ) from error
    return data


def _read_pair(cert: Path | str, key: Path | str) -> tuple[bytes, bytes]:
    """Return PEM files of a certificate and its private key, having made sure that they fit.

    gRPC says nothing but that it failed; OpenSSL can tell why, but reads files alone. Those that
    are renewed meanwhile are read again, so that what was made sure of is what is returned.
    """
    for _ in range(_TURNS):
        pair = _read(cert, "the certificate"), _read(key, "the private key")
        try:
            # An encrypted key would be asked for on the terminal; no password is ever right.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key, password=lambda: "")
            fault: Exception | None = None
        except (OSError, ValueError) as error:  # those of OpenSSL are an OSError, too
            fault = error
        if pair == (_read(cert, "the certificate"), _read(key, "the private key")):
            break
    else:
        raise ConfigError(f"{cert} and {key} change while they are read; try again when they rest")
    if fault is not None:
        raise ConfigError(
            f"{cert} and {key}: expected a certificate and its private key as PEM, the key not "
            "encrypted; one of them is something else, or they do not belong together"
        ) from fault
    return pair


def _read(path: Path | str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {what}: {path}: {error.strerror or error}") from error
