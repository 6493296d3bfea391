"""A network on the command line, and the size of its images."""

from typing import Annotated

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
