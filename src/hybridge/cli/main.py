"""The command line: every command, registered."""

import os
from typing import Annotated

import typer

from hybridge import __version__
from hybridge.cli.check import check
from hybridge.cli.dashboard import dashboard
from hybridge.cli.demo import demo
from hybridge.cli.devices import devices
from hybridge.cli.emulate import emulate
from hybridge.cli.estimate import estimate
from hybridge.cli.evaluate import evaluate
from hybridge.cli.export import export
from hybridge.cli.gateway import gateway
from hybridge.cli.group import Commands
from hybridge.cli.links import links
from hybridge.cli.macs import macs
from hybridge.cli.nets import nets
from hybridge.cli.partition import partition
from hybridge.cli.profile import profile
from hybridge.cli.replay import replay
from hybridge.cli.run import run
from hybridge.cli.search import search
from hybridge.cli.serve import serve
from hybridge.cli.show import show
from hybridge.cli.sign import keygen, sign
from hybridge.cli.supernet import supernet
from hybridge.cli.traces import traces
from hybridge.cli.train import train
from hybridge.cli.tree import tree
from hybridge.cli.tune import tune

app = typer.Typer(
    name="hybridge",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    demo,
    check,
    train,
    evaluate,
    tune,
    search,
    estimate,
    emulate,
    show,
    export,
    serve,
    run,
    gateway,
    replay,
    dashboard,
    keygen,
    sign,
    nets,
    macs,
    partition,
    devices,
    profile,
):
    app.command()(_command)
app.add_typer(traces, name="traces")
app.add_typer(links, name="links")
app.add_typer(tree, name="tree")
app.add_typer(supernet, name="supernet")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"hybridge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Build, train, deploy and run hybrids of a network on a device and one in the cloud."""


def main() -> None:
    """Run the command line of this process."""
    # gRPC would write lines of its own on standard error, beside the one that says what is wrong.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    app(prog_name="hybridge")
