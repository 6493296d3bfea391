"""``hybridge serve``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.cli.output import check_used, show_json
from hybridge.cli.trust import Insecure, TokenFile, TrustedKeys, access_of
from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from hybridge.plan.program import Program
    from hybridge.runtime.cloud.models import Models
    from hybridge.runtime.wire.trust import Access

#: Parameters that one of the engines alone has use for.
_LOCAL_ONLY = ("host", "watch", "keep_old_s", "metrics_port", "metrics_host")
_RAY_ONLY = ("replicas", "ray_address")


def serve(
    context: typer.Context,
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
    engine: Annotated[
        str, typer.Option(help="What serves: local, this process; or ray, Ray Serve.")
    ] = "local",
    replicas: Annotated[int, typer.Option(help="Copies of the service, with --engine ray.")] = 1,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster to join, such as auto; a new one on this machine if left out."
        ),
    ] = None,
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
    and tokens again, unless Ray serves. Beyond this machine it listens only with --tls-cert, or
    --insecure.

    \b
    Examples:
      hybridge serve runs/demo/bundle
      hybridge serve runs/a/bundle runs/b/bundle --port 9000 --max-batch 64
      hybridge serve old=runs/a/bundle new=runs/b/bundle
      hybridge serve runs/demo/bundle --host 0.0.0.0 --tls-cert cloud.pem --tls-key cloud.key
      hybridge serve runs/demo/bundle --token-file tokens --trusted-key team.key.pub
      hybridge serve runs/demo/bundle --watch --metrics-port 9090 --log-json
      hybridge serve runs/demo/bundle --engine ray --replicas 4 --ray-address auto --insecure
    """
    from hybridge.runtime.cloud.batcher import Batching
    from hybridge.runtime.cloud.journal import log_as_json
    from hybridge.runtime.cloud.upkeep import Upkeep

    batching = Batching(max_batch, max_wait_ms, max_waiting)
    watched = tuple(_named(text)[1] for text in bundles) if watch else ()
    load = partial(_load, bundles, trusted_key or None, threads)
    upkeep = Upkeep(load, watched, keep_old_s, metrics_port, metrics_host, slow_ms)
    access = access_of(tls_cert, tls_key, client_ca, token_file, insecure)
    if engine == "local":
        check_used(context, _RAY_ONLY, "are for --engine ray")
        from hybridge.runtime.cloud import serve as process

        access.check_host(host)
        models = load()
        if log_json:
            log_as_json()
        process.serve(models, host, port, batching=batching, access=access, upkeep=upkeep)
    elif engine == "ray":
        from hybridge.runtime.cloud.ray import OnRay, serve_on_ray

        check_used(
            context,
            _LOCAL_ONLY,
            "do nothing with --engine ray: Ray's proxies listen at every address, bundles are read "
            "once, and Ray has metrics of its own",
        )
        _check_for_ray(access, port)
        on_ray = OnRay(replicas, address=ray_address)
        programs = load().names  # what is wrong with a bundle is told here, not by a replica
        if log_json:
            log_as_json()
        ready = {"event": "ready", "port": port, "programs": programs}
        serve_on_ray(
            load,
            port,
            batching=batching,
            on_ray=on_ray,
            slow_ms=upkeep.slow_ms,
            log_json=log_json,
            ready=partial(show_json, ready, None),
        )
    else:
        raise ConfigError(f"expected --engine local or ray, got {engine!r}")


def _check_for_ray(access: "Access", port: int) -> None:
    """Raise `ConfigError` for what Ray's proxies cannot do, rather than leave it out unsaid."""
    if access.tls is not None or access.tokens is not None or not access.insecure:
        raise ConfigError(
            "with --engine ray, Ray's proxies listen at every address, without TLS and tokens of "
            "ours; say --insecure, leave out --tls-cert and --token-file, and put a proxy before it"
        )
    if port == 0:
        raise ConfigError("with --engine ray, expected a port that is not 0; give --port")


def _load(
    bundles: list[str],
    trusted_keys: list[Path] | None,
    threads: int,
    loaded: "Models | None" = None,
) -> "Models":
    """Return the models of bundles; keeps of ``loaded`` what is the same."""
    from hybridge.runtime.cloud.models import Models

    return Models(_programs(bundles, trusted_keys), threads, loaded)


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
