"""This host measured layer by layer, and a device profile fitted to what was seen.

Layers are drawn at random from what image networks are made of, and each is timed as onnxruntime
runs it inside a network (`hybridge.design.export.layer`). Some are held out, and so are the layers
of every network that is named: what the fit says of them is compared with what was measured, and
so is the sum over a whole network. No network's time enters the fit.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime

from hybridge.cost.device import Device, Sourced, Speed, SpeedKind
from hybridge.cost.fit import Timing, class_of, fit_speeds
from hybridge.cost.price import compute_ms
from hybridge.design.export.layer import LayerSpec, program_of, specs_of
from hybridge.design.export.onnx import freeze
from hybridge.design.graph.graph import Graph
from hybridge.design.graph.outline import outline
from hybridge.design.nets import PixelNetwork, build, networks
from hybridge.errors import ConfigError
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.progress import track
from hybridge.runtime.sessions import ProgramSession, open_graph
from hybridge.runtime.stopwatch import interleaved_ms

#: How many layers of each class and kernel are drawn.
DRAWN = {
    ("conv", 1): 30,
    ("conv", 3): 100,
    ("conv", 5): 15,
    ("conv", 7): 15,
    ("depthwise", 3): 20,
    ("depthwise", 5): 16,
    ("depthwise", 7): 16,
    ("linear", 0): 24,
    ("pool", 0): 10,
    ("pool", 2): 10,
    ("other", 0): 20,
}
#: Of these, the share that is held out.
HELD_OUT = 0.2
#: Networks whose layers, and which as a whole, are compared with the fit.
NETWORKS = (
    *("cifar_resnet56", "vgg11_cifar", "cifar_resnet8", "cifar_resnet20"),
    *("cifar_resnet44", "cifar_resnet110", "small_cnn", "tiny_cnn"),
)
ROUNDS = 9

_CHANNELS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_SIDES = (2, 4, 7, 8, 14, 16, 28, 32, 56)
#: Networks trade side for channels: what lies outside is not met.
_LEAST_ROW, _MOST_ROW = 384, 4096
_MOST_MACS = 1e8
#: A program that does next to nothing.
_EMPTY = LayerSpec("linear", 10, 10, 1)
_FUSED: tuple[SpeedKind, ...] = ("norm", "activation", "add")


@dataclass(frozen=True)
class Whole:
    """A whole network, as estimated from its layers and as measured."""

    name: str
    estimated_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """How far the estimate is off, as a share of what was measured."""
        return abs(self.estimated_ms / self.measured_ms - 1)


@dataclass(frozen=True, eq=False)
class HostProfile:
    """What was measured on this host.

    Attributes:
        device: The profile that was fitted.
        held_out: Layers that were drawn and not fitted on.
        of_networks: The distinct layers of each network, none of them fitted on.
        wholes: Every network as a whole.
    """

    device: Device
    held_out: list[Timing]
    of_networks: dict[str, list[Timing]]
    wholes: list[Whole]

    @property
    def median_error(self) -> float:
        """Median error of whole networks."""
        return float(np.median([whole.error for whole in self.wholes]))


def profile_host(
    names: Sequence[str] = NETWORKS,
    *,
    threads: int = 1,
    seed: int = 0,
    rounds: int = ROUNDS,
    drawn: dict[tuple[str, int], int] = DRAWN,
) -> HostProfile:
    """Measure this host.

    Args:
        names: Registered networks to compare with.
        threads: Threads of each session.
        seed: Which layers are drawn and held out.
        rounds: How often everything is timed.
        drawn: How many layers of each class and kernel are drawn.

    Raises:
        UnknownNameError: There is no such network.
        ConfigError: A network has layers of a class and kernel that none is drawn of, or
            ``threads`` is negative.
    """
    graphs = {name: _graph(name) for name in names}
    for name, graph in graphs.items():
        _check_classes(name, graph, drawn)
    of_networks = {name: specs_of(graph) for name, graph in graphs.items()}
    met = {spec for each in of_networks.values() for spec in each}
    fitted, held_out = _draw(drawn, met, np.random.default_rng(seed))
    specs = dict.fromkeys((*fitted, *held_out, *(s for each in of_networks.values() for s in each)))
    with TemporaryDirectory() as folder:
        programs = [
            _program(name, Path(folder)) for name in track(names, "exporting networks", len(names))
        ]
        layers_ms, overhead_ms, networks_ms = _measure(list(specs), programs, threads, rounds)
    timing = {
        spec: Timing(spec.layer, float(ms)) for spec, ms in zip(specs, layers_ms, strict=True)
    }
    device = _device([timing[spec] for spec in fitted], overhead_ms, threads)
    return HostProfile(
        device=device,
        held_out=[timing[spec] for spec in held_out],
        of_networks={name: [timing[s] for s in each] for name, each in of_networks.items()},
        wholes=[
            Whole(program.name, compute_ms(program.layers, device), float(ms))
            for program, ms in zip(programs, networks_ms, strict=True)
        ],
    )


def _draw(
    drawn: dict[tuple[str, int], int], met: set[LayerSpec], rng: np.random.Generator
) -> tuple[list[LayerSpec], list[LayerSpec]]:
    """Return distinct layers to fit on, and layers that are held out; none that is in ``met``."""
    fitted: list[LayerSpec] = []
    held_out: list[LayerSpec] = []
    for (kind, kernel), count in drawn.items():
        found: dict[LayerSpec, None] = {}
        while len(found) < count:
            spec = _random_layer(kind, kernel, rng)
            row = max(spec.in_channels, spec.out_channels) * spec.side
            fits = spec.is_plain or (_LEAST_ROW <= row <= _MOST_ROW and kernel <= spec.side + 1)
            if fits and spec not in met and spec.layer.macs <= _MOST_MACS:
                found[spec] = None
        aside = max(1, round(HELD_OUT * count))
        fitted += list(found)[aside:]
        held_out += list(found)[:aside]
    return fitted, held_out


def _random_layer(kind: Any, kernel: int, rng: np.random.Generator) -> LayerSpec:
    channels, side = int(rng.choice(_CHANNELS)), int(rng.choice(_SIDES))
    if kind == "linear":
        features = 2 ** int(rng.integers(5, 12))
        return LayerSpec(kind, features, int(rng.choice((10, 100, 256, 512, 1000))), 1)
    if kind == "conv":
        ratio = float(rng.choice((0.25, 0.5, 1, 1, 2, 4) if kernel == 1 else (0.5, 1, 1, 1, 2)))
        wide = max(8, int(channels * ratio))
        narrow = 3 if kernel > 1 and rng.random() < 0.1 else channels  # the first of a network
        return LayerSpec(kind, narrow, wide, side, kernel, _stride(rng))
    if kind == "depthwise":
        return LayerSpec(kind, channels, channels, side, kernel, _stride(rng))
    if kind == "pool":
        return LayerSpec(kind, channels, channels, side, kernel, 2 if kernel else 1)
    if rng.random() < 0.5:
        few = int(rng.choice((1, 3, channels)))
        return LayerSpec(kind, few, few, side)
    return LayerSpec(kind, channels, 2 * channels, side)


def _graph(name: str) -> Graph:
    info = networks.get(name)
    return outline(
        name,
        class_count=info.class_count,
        resolution=info.resolution,
        channels=info.channels,
    )


def _check_classes(name: str, graph: Graph, drawn: dict[tuple[str, int], int]) -> None:
    for layer in graph.layers:
        known = layer.kind in _FUSED or (layer.kind, layer.kernel) in drawn
        if not known:
            raise ConfigError(
                f"network {name!r} has layer {layer.name!r} of class {class_of(layer)!r}, which "
                f"is not measured; leave the network out"
            )


def _stride(rng: np.random.Generator) -> int:
    return 2 if rng.random() < 0.25 else 1


def _program(name: str, folder: Path) -> Program:
    """Export a network with random weights: time does not know them."""
    info = networks.get(name)
    network = PixelNetwork(build(name, info.class_count), info.mean, info.std)
    pixels = TensorSpec(name="pixels", dtype="uint8", shape=info.geometry.shape)
    return freeze(network, name, pixels, ("logits",), info.geometry, folder)


def _measure(
    specs: Sequence[LayerSpec], programs: Sequence[Program], threads: int, rounds: int
) -> tuple[np.ndarray[Any, Any], float, np.ndarray[Any, Any]]:
    """Return milliseconds of every layer, of a program beyond its layers, and of networks."""
    # Many layers have the same program without them; each is timed once.
    bare = {program_of(spec, with_it=False): spec for spec in (_EMPTY, *specs)}
    calls = [
        *(_call(graph, spec, threads) for graph, spec in bare.items()),
        *(_call(program_of(spec, with_it=True), spec, threads) for spec in specs),
        *(_network_call(program, threads) for program in programs),
    ]
    ms = interleaved_ms(calls, rounds)
    bare_ms, whole_ms, networks_ms = np.split(ms, (len(bare), len(bare) + len(specs)))
    without = dict(zip(bare, bare_ms.tolist(), strict=True))
    without_ms = np.array([without[program_of(spec, with_it=False)] for spec in specs])
    copies = np.array([spec.copies for spec in specs])
    # A difference may come out below zero where a layer takes next to nothing.
    layers_ms = np.maximum((whole_ms - without_ms) / copies, 1e-6)
    return layers_ms, without[program_of(_EMPTY, with_it=False)], networks_ms


def _call(graph: bytes, spec: LayerSpec, threads: int) -> Callable[[], object]:
    session = open_graph(graph, threads)
    inputs = {"x": np.random.default_rng(0).standard_normal(spec.input_shape, np.float32)}
    return lambda: session.run(None, inputs)


def _network_call(program: Program, threads: int) -> Callable[[], object]:
    session = ProgramSession(program, threads)
    spec = program.inputs[0]
    pixels = np.random.default_rng(0).integers(0, 256, (1, *spec.shape), np.uint8)
    return lambda: session.run({spec.name: pixels})


def _device(timings: list[Timing], overhead_ms: float, threads: int) -> Device:
    host = f"{_processor()}, onnxruntime {onnxruntime.__version__}, {threads} threads"
    fused = Sourced(value=0, source="onnxruntime fuses it into the layer before")
    return Device(
        name=platform.node() or "host",
        about=f"measured by hybridge profile: {host}",
        speeds=(
            *fit_speeds(timings, f"fitted on {host}"),
            *(Speed(kind=kind, layer_us=fused) for kind in _FUSED),
        ),
        overhead_ms=Sourced(value=overhead_ms, source=f"a program of ten numbers, {host}"),
    )


def _processor() -> str:
    """Return the processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
