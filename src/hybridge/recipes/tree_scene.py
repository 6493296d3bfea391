"""A device in a scene: what its link is like, and the problem that a search has there.

The first half of every trace is what is known beforehand: types of bandwidth and the median come
from it. The second half is what is emulated.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from hybridge.cost.device import Device, device_named
from hybridge.design.modeltree.evaluators import LibraryEvaluator
from hybridge.design.modeltree.problem import AccuracyFloor, TreeProblem
from hybridge.design.modeltree.space import make_space
from hybridge.links.contexts import BandwidthTypes, quantile_types
from hybridge.links.link import Link, link_named
from hybridge.links.read import read_trace
from hybridge.links.recent import SENSE_WINDOW_S
from hybridge.links.scenes import scene_traces, scenes
from hybridge.links.stats import quantiles_bps
from hybridge.links.trace import Trace, joined
from hybridge.recipes.tree_library import Prepared
from hybridge.recipes.tree_schema import ContextConfig, TreeRecipe


@dataclass(frozen=True)
class TreeScene:
    """A device in a scene.

    Attributes:
        key: Name of the scene, or file of its trace, as a recipe gives it.
        name: Of the scene, to be read.
        device: The device.
        cloud: The server.
        link: Round trip and ``f(S|W)``, at the median bandwidth.
        types: Types of bandwidth.
        traces: What is emulated, by file.
        rate_per_s: Requests a second in emulations.
    """

    key: str
    name: str
    device: Device
    cloud: Device
    link: Link
    types: BandwidthTypes
    traces: dict[str, Trace]
    rate_per_s: float

    @property
    def links(self) -> list[Link]:
        """The link at each type of bandwidth."""
        return [self.at(bandwidth_bps) for bandwidth_bps in self.types.typical_bps]

    def at(self, bandwidth_bps: float) -> Link:
        """Return the link at some bandwidth."""
        return replace(self.link, bandwidth_bps=bandwidth_bps)


def open_scene(recipe: TreeRecipe, context: ContextConfig, scene: str, root: Path) -> TreeScene:
    """Read the traces of a scene.

    Args:
        recipe: What names the cloud, the links and the types.
        context: The device.
        scene: Name of a scene, or a file of a trace below the data folder.
        root: Folder that data paths start from.

    Raises:
        DataError: A trace cannot be read.
    """
    if "/" in scene:
        traces = {scene: read_trace(root / scene)}
        kind = "wifi" if "wifi" in scene.lower() else "4g"
        name = Path(scene).name
    else:
        found = scenes.get(scene)
        traces, kind, name = scene_traces(found, root / recipe.traces), found.kind, found.name
    half_s = {key: trace.duration_s / 2 for key, trace in traces.items()}
    known = [trace.between(0, half_s[key]) for key, trace in traces.items()]
    ahead = {key: trace.between(half_s[key], trace.duration_s) for key, trace in traces.items()}
    seen = joined([_as_seen(trace) for trace in known])
    median_bps = float(quantiles_bps(seen, (0.5,))[0])
    types = quantile_types(seen, recipe.types)
    link = replace(
        link_named(recipe.links[kind]), bandwidth_bps=max(median_bps, types.typical_bps[0])
    )
    return TreeScene(
        key=scene,
        name=name,
        device=device_named(context.device).slowed(context.slower),
        cloud=device_named(recipe.cloud),
        link=link,
        types=types,
        traces=ahead,
        rate_per_s=context.rate_per_s,
    )


def _as_seen(trace: Trace) -> Trace:
    """Return a trace as a device measures it, which sees no single packets."""
    return trace.resampled(min(SENSE_WINDOW_S, trace.duration_s))


def problem_of(prepared: Prepared, scene: TreeScene, evaluator: LibraryEvaluator) -> TreeProblem:
    """Return the search for a tree in a scene, judged by an evaluator's images."""
    recipe = prepared.recipe
    floor = None
    if recipe.search.accuracy_loss is not None:
        original = evaluator.accuracy(prepared.original).value
        floor = AccuracyFloor(original - recipe.search.accuracy_loss, recipe.search.accuracy_points)
    return TreeProblem(
        space=make_space(prepared.sliced, prepared.options, prepared.sizes, recipe.types),
        links=scene.links,
        costs=prepared.costs(scene.device, scene.cloud),
        evaluator=evaluator,
        reward=recipe.search.reward or recipe.reward,
        floor=floor,
    )


def with_image_bytes(
    problem: TreeProblem, prepared: Prepared, scene: TreeScene, image_bytes: float
) -> TreeProblem:
    """Return a problem in which an image crosses as so many bytes, as by another codec."""
    sizes = {**prepared.sizes, "input": image_bytes}
    return replace(problem, costs=prepared.costs(scene.device, scene.cloud, sizes), _latencies={})
