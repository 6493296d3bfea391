"""What a command prices for: what the bundle was made for, unless the command line says else."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.errors import BundleError

if TYPE_CHECKING:
    from hybridge.cost.surroundings import Surroundings
    from hybridge.plan.bundle import Bundle

DeviceOption = Annotated[
    str | None,
    typer.Option(help="The device: a preset, or a .json file.", show_default="the bundle's"),
]
CloudOption = Annotated[
    str | None,
    typer.Option(help="The server: a preset, or a .json file.", show_default="the bundle's"),
]
LinkOption = Annotated[
    str | None,
    typer.Option(help="The link: a preset, or a .json file.", show_default="the bundle's"),
]


def surroundings_of(bundle: "Bundle | None", **given: str | None) -> "Surroundings":
    """Return what ``bundle`` was made for, with what the command line changes.

    Args:
        bundle: Its metadata may hold the recipe that it was made by. None stands for the defaults.
        given: ``device``, ``cloud`` or ``link`` as given; None where not.

    Raises:
        BundleError: What the bundle says it was made for are no names by key.
    """
    from hybridge.cost.surroundings import Surroundings

    stored: Any = None if bundle is None else bundle.metadata
    for key in ("recipe", "deploy", "surroundings"):
        stored = stored.get(key) if isinstance(stored, dict) else None
    if stored is not None and not isinstance(stored, dict):
        raise BundleError(
            f"expected the bundle's recipe to name its surroundings by key, got {stored!r}; export "
            "it again"
        )
    changed = {key: value for key, value in given.items() if value is not None}
    return Surroundings.model_validate({**(stored or {}), **changed})
