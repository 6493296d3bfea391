"""``hybridge serve``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.cli.trust import Insecure, TokenFile, TrustedKeys, access_of
from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from hybridge.plan.program import Program


def serve(
    bundles: Annotated[
        list[str],
        typer.Argument(metavar="BUNDLE...", help="Folders of bundles to serve, or NAME=FOLDER."),
    ],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")
    ] = 8001,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of each program; 0 for one per core.")
    ] = 1,
    max_batch: Annotated[int, typer.Option(help="Most inputs to compute at once.")] = 32,
    max_wait_ms: Annotated[
        float, typer.Option(help="How long an idle program waits for more inputs.")
    ] = 0.0,
    max_waiting: Annotated[
        int, typer.Option(help="Most inputs that wait for a program; more are refused at once.")
    ] = 1024,
    watch: Annotated[
        bool, typer.Option("--watch", help="Load bundles again when their files change.")
    ] = False,
    keep_old_s: Annotated[
        float, typer.Option(help="How long a version is still served after it was replaced.")
    ] = 60.0,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port for /metrics, /healthz and /readyz; 0 for any."),
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address of that port.")] = "127.0.0.1",
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Write events to standard error as JSON.")
    ] = False,
    slow_ms: Annotated[
        float, typer.Option(help="How long a request may take before it is logged as slow.")
    ] = 1000.0,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's certificate, as PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The private key of that certificate.")
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take only clients that this authority vouches for."),
    ] = None,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    trusted_key: TrustedKeys = None,
) -> None:
    """Serve the cloud programs of bundles over gRPC.

    Speaks the Open Inference Protocol v2. Prints one line of JSON once it listens. On
    SIGTERM it answers what it has taken, then ends; on SIGHUP it reads bundles, certificates
    and tokens again. Beyond this machine it listens only with --tls-cert, or --insecure.

    \b
    Examples:
      hybridge serve runs/demo/bundle
      hybridge serve runs/a/bundle runs/b/bundle --port 9000 --max-batch 64
      hybridge serve old=runs/a/bundle new=runs/b/bundle
      hybridge serve runs/demo/bundle --host 0.0.0.0 --tls-cert cloud.pem --tls-key cloud.key
      hybridge serve runs/demo/bundle --token-file tokens --trusted-key team.key.pub
      hybridge serve runs/demo/bundle --watch --metrics-port 9090 --log-json
    """
    from hybridge.runtime.cloud import serve as process
    from hybridge.runtime.cloud.batcher import Batching
    from hybridge.runtime.cloud.journal import log_as_json
    from hybridge.runtime.cloud.models import Models
    from hybridge.runtime.cloud.upkeep import Upkeep

    batching = Batching(max_batch, max_wait_ms, max_waiting)
    access = access_of(tls_cert, tls_key, client_ca, token_file, insecure)
    access.check_host(host)

    def load(loaded: Models | None = None) -> Models:
        return Models(_programs(bundles, trusted_key or None), threads, loaded)

    watched = tuple(_named(text)[1] for text in bundles) if watch else ()
    upkeep = Upkeep(load, watched, keep_old_s, metrics_port, metrics_host, slow_ms)
    models = load()
    if log_json:
        log_as_json()
    process.serve(models, host, port, batching=batching, access=access, upkeep=upkeep)


def _programs(bundles: list[str], trusted_keys: list[Path] | None) -> dict[str, list["Program"]]:
    """Return the cloud programs of each bundle, by the bundle's name."""
    from hybridge.plan.bundle import load_bundle

    found: dict[str, list[Program]] = {}
    for text in bundles:
        given, path = _named(text)
        bundle = load_bundle(path, place="cloud", trusted_keys=trusted_keys)
        name = given or str(bundle.metadata.get("name") or path.resolve().name)
        # Bundles of one name are told apart by the hashes of their programs.
        found.setdefault(name, []).extend(bundle.plan.programs_at("cloud"))
    return found


def _named(text: str) -> tuple[str | None, Path]:
    """Return the name before ``=``, if there is one, and the path."""
    name, equals, path = text.partition("=")
    if not equals or "/" in name or Path(text).exists():
        return None, Path(text)
    if not name or not path:
        raise ConfigError(f"expected a bundle's folder, or NAME=FOLDER, got {text!r}")
    return name, Path(path)
