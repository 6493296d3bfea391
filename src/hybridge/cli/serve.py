"""``hybridge serve``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
) -> None:
    """Serve the cloud programs of bundles over gRPC.

    Speaks the Open Inference Protocol v2. Prints one line of JSON once it listens. On
    SIGTERM it answers what it has taken, then ends.

    \b
    Examples:
      hybridge serve runs/demo/bundle
      hybridge serve runs/a/bundle runs/b/bundle --host 0.0.0.0 --port 9000 --max-batch 64
      hybridge serve old=runs/a/bundle new=runs/b/bundle
    """
    from hybridge.runtime.cloud import server
    from hybridge.runtime.cloud.batcher import Batching
    from hybridge.runtime.cloud.models import Models

    batching = Batching(max_batch, max_wait_ms)
    models = Models(_programs(bundles), threads)
    server.serve(models, host, port, batching=batching)


def _programs(bundles: list[str]) -> dict[str, list["Program"]]:
    """Return the cloud programs of each bundle, by the bundle's name."""
    from hybridge.plan.bundle import load_bundle

    found: dict[str, list[Program]] = {}
    for text in bundles:
        given, path = _named(text)
        bundle = load_bundle(path, place="cloud")
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
