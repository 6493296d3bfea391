"""A network on the command line, the size of its images, and what its builder takes."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hybridge.errors import ConfigError

NetworkArgument = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK", help="A registered name, package.module:function or timm:NAME."
    ),
]
ResolutionOption = Annotated[
    int | None,
    typer.Option(min=1, help="Height and width of the image.", show_default="the network's"),
]
ClassesOption = Annotated[
    int | None, typer.Option(min=1, help="Number of classes.", show_default="the network's")
]
ChannelsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Channels of the image.", show_default="the network's, or 3"),
]


def size_of(network: str, **given: int | None) -> dict[str, int]:
    """Return what a network is built for, with the registry's numbers where none is given.

    Args:
        network: Its name.
        given: ``class_count``, ``resolution`` and ``channels`` as given; None where not.

    Raises:
        UnknownNameError: No network has this name.
        ConfigError: A network from elsewhere is given without its size.
    """
    from hybridge.design.nets import networks

    names = ("class_count", "resolution", "channels")
    if ":" not in network:
        info = networks.get(network)
        own = {name: getattr(info, name) for name in names}
    elif given["resolution"] is None or given["class_count"] is None:
        raise ConfigError(f"{network}: a network from elsewhere needs --resolution and --classes")
    else:
        own = {"channels": 3}
    return {name: given[name] or own[name] for name in names}


def builder_options(network: str, architecture: str | None, given: Sequence[str]) -> dict[str, Any]:
    """Return what a network is built with, beside its size.

    Args:
        network: Its name.
        architecture: Of an elastic family, as given; None takes the largest.
        given: ``NAME=VALUE`` each; a value is read as JSON, or is text.

    Raises:
        ConfigError: An architecture is given for another network, or one of another family; or an
            option is not written so, or is given otherwise already.
    """
    from hybridge.design.nets.families import families

    options = dict(map(_option, given))
    taken = sorted(options.keys() & {"class_count", "resolution", "channels", "architecture"})
    if taken:
        raise ConfigError(
            f"--option {taken[0]}: use --classes, --resolution, --channels or --arch for it"
        )
    if network in families:
        space = families.get(network).space
        chosen = space.largest if architecture is None else space.parse(architecture)
        options["architecture"] = str(chosen)
    elif architecture is not None:
        raise ConfigError(
            f"--arch: {network} is no elastic family, so it has no architecture to choose; "
            f"families: {', '.join(families)}"
        )
    return options


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"--option: expected NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
