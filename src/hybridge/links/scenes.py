"""Scenes of the model-tree paper, and the recorded traces that come nearest to them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hybridge.errors import DataError
from hybridge.links.read import read_trace
from hybridge.links.trace import Trace
from hybridge.registry import Registry


@dataclass(frozen=True, slots=True)
class Scene:
    """A context in which the model tree was tried (its table III).

    Attributes:
        name: As the paper calls it.
        kind: What the link is.
        place: Where the device is.
        mobility: How it moves, or None where the paper does not say.
        weak: Whether the signal is.
        files: Where traces of such a link lie, as patterns below a folder of traces.
    """

    name: str
    kind: Literal["4g", "wifi"]
    place: Literal["indoor", "outdoor"]
    mobility: Literal["static", "slow", "quick"] | None
    weak: bool
    files: tuple[str, ...]


def scene_traces(scene: Scene, root: Path) -> dict[str, Trace]:
    """Return the traces of a scene, by their paths below ``root``, in order.

    Args:
        scene: One of `scenes`, or your own.
        root: A folder of traces.

    Raises `DataError` where there are none, or one cannot be read.
    """
    paths = {path for pattern in scene.files for path in root.glob(pattern) if path.is_file()}
    if not paths:
        raise DataError(
            f"expected traces of {scene.name!r} in {root}, as {' or '.join(scene.files)}; got none"
        )
    return {path.relative_to(root).as_posix(): read_trace(path) for path in sorted(paths)}


scenes: Registry[Scene] = Registry("scene")
"""Scenes of which there are public traces, by a name that a command line takes.

Not "WiFi (weak) outdoor", of which we know none.
"""


def _add(
    name: str,
    kind: Literal["4g", "wifi"],
    place: Literal["indoor", "outdoor"],
    *files: str,
    mobility: Literal["static", "slow", "quick"] | None = None,
    weak: bool = False,
) -> None:
    key = name.lower().replace(" ", "-")
    scenes.add(key, Scene(name, kind, place, mobility, weak, files))


_add("4G weak indoor", "4g", "indoor", "lumos/ABR_data/*-4g-weak-*.csv", weak=True)
_add("4G indoor static", "4g", "indoor", "spark/PiTree/lab/*.log", mobility="static")
_add("4G indoor slow", "4g", "indoor", "spark/Zhuge/4g/*.log", mobility="slow")
_add(
    "4G outdoor quick",
    "4g",
    "outdoor",
    "spark/PiTree/hsr/*.log",
    "mahimahi/ATT-LTE-driving-2016.up",
    mobility="quick",
)
_add(
    "WiFi weak indoor",
    "wifi",
    "indoor",
    "lumos/ABR_data/*-wifi*-weak-*.csv",
    "spark/Zhuge/rest-wifi/*.log",
    weak=True,
)
_add(
    "WiFi outdoor slow",
    "wifi",
    "outdoor",
    "solis-wifi-uplink/traces/wifi_campus_*.txt",
    mobility="slow",
)
