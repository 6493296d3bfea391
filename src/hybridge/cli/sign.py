"""``hybridge keygen`` and ``hybridge sign``."""

from pathlib import Path
from typing import Annotated

import typer

from hybridge.cli.output import show_facts


def keygen(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the private key goes; it must be new.")
    ],
) -> None:
    """Make a pair of keys to sign bundles with.

    The private key is readable by you alone, and not encrypted: keep it where bundles are made.
    The public one, FILE.pub, goes to whoever serves and runs them.

    \b
    Examples:
      hybridge keygen keys/team.key
    """
    from hybridge.plan.signature import make_keys

    private, public = make_keys(file)
    show_facts({"private key": f"{private} (keep it secret)", "public key": str(public)})


def sign(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The private key, from keygen.")],
) -> None:
    """Sign a bundle, so that others can tell it from any other.

    Every file is verified first, and programs that are not here are named by the manifest all
    the same. What changes the bundle afterwards, such as tune --write, drops the signature.

    \b
    Examples:
      hybridge sign runs/demo/bundle --key keys/team.key
      hybridge run runs/demo/bundle photo.jpg --trusted-key keys/team.key.pub
    """
    from hybridge.plan.bundle import inspect_bundle
    from hybridge.plan.signature import sign_bundle

    inspect_bundle(bundle)
    show_facts({"signed": str(sign_bundle(bundle, key))})
