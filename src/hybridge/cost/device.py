"""Device profiles: how fast a device computes, what it holds, what power it draws.

Every number says where it comes from, and whether it is no more than an assumption. A profile
travels as one JSON file; `hybridge.cost.presets` has those taken from publications.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hybridge.errors import ConfigError
from hybridge.files import read_json_as, write_json
from hybridge.plan.layers import Layer
from hybridge.plan.tensors import Frozen
from hybridge.registry import Registry

#: Classes of `Layer` that have a speed of their own; ``any`` is every class without one.
SpeedKind = Literal[
    "any", "conv", "depthwise", "linear", "norm", "pool", "activation", "add", "other"
]

_BYTES_PER_PARAMETER = 4
_SUFFIX = ".json"


class Sourced(Frozen):
    """A number and where it comes from.

    Attributes:
        value: The number, in the unit that its field names.
        source: Publication, table, data sheet or measurement, in a few words.
        assumed: Whether it is an assumption rather than a measurement.
    """

    value: float = Field(ge=0, allow_inf_nan=False, strict=True)
    source: str
    assumed: bool = False


def assumption(value: float, why: str) -> Sourced:
    """Return a number that nobody measured."""
    return Sourced(value=value, source=why, assumed=True)


class Speed(Frozen):
    """What layers of one class and kernel take: ``a * MACs + w * weights + b * outputs + c``.

    The paper's model is ``a * MACs + c``, with one ``a`` for fully connected layers and one for
    each kernel of convolutions (model tree, section V-B). The bytes are our extension: a wide layer
    on few pixels waits for its weights, and a layer without MACs for its output. A term left out
    is zero.

    Attributes:
        kind: Class of layer.
        kernel: Kernel size, or None for all that have no speed of their own.
        ns_per_mac: ``a``, in nanoseconds for each multiply-accumulate.
        ns_per_weight_byte: ``w``, in nanoseconds for each byte of weights, 4 for a parameter.
        ns_per_output_byte: ``b``, in nanoseconds for each byte that the layer gives.
        layer_us: ``c``, in microseconds for each layer.
    """

    kind: SpeedKind
    kernel: int | None = Field(default=None, ge=1, strict=True)
    ns_per_mac: Sourced | None = None
    ns_per_weight_byte: Sourced | None = None
    ns_per_output_byte: Sourced | None = None
    layer_us: Sourced | None = None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.kind == "any" and self.kernel is not None:
            raise ValueError("a speed of any class of layers has no kernel; leave it out")
        if not dict(self.numbers()):
            raise ValueError(f"expected at least one of {', '.join(_TERMS)}, got none of them")
        return self

    @property
    def name(self) -> str:
        """Class and kernel, in a few letters: ``conv 3``."""
        return self.kind if self.kernel is None else f"{self.kind} {self.kernel}"

    def numbers(self) -> Iterator[tuple[str, Sourced]]:
        """Yield the terms that are given, by name."""
        for name in _TERMS:
            number = getattr(self, name)
            if number is not None:
                yield name, number

    def slowed(self, times: float) -> "Speed":
        """Return a speed at which everything takes ``times`` as long."""
        update = {
            name: assumption(number.value * times, f"{times:g} times: {number.source}")
            for name, number in self.numbers()
        }
        return self.model_copy(update=update)

    def layer_ms(self, layer: Layer) -> float:
        """Return the time of one layer for one input."""
        terms = (getattr(self, name) for name in _TERMS)
        rates = (0.0 if number is None else number.value for number in terms)
        return sum(rate * amount for rate, amount in zip(rates, amounts_ms(layer), strict=True))


_TERMS = ("ns_per_mac", "ns_per_weight_byte", "ns_per_output_byte", "layer_us")


def amounts_ms(layer: Layer) -> tuple[float, float, float, float]:
    """Return what each term of a `Speed` is to be multiplied with, to give milliseconds."""
    weight_bytes = _BYTES_PER_PARAMETER * layer.parameters
    return layer.macs * 1e-6, weight_bytes * 1e-6, layer.output_bytes * 1e-6, 1e-3


def _positive(number: Sourced) -> Sourced:
    if number.value == 0:
        raise ValueError("expected more than 0 bytes; leave memory out where it is no limit")
    return number


_Size = Annotated[Sourced, AfterValidator(_positive)]


class Memory(Frozen):
    """What a device holds, in bytes, more than 0.

    Attributes:
        sram_bytes: Working memory, for activations.
        flash_bytes: Memory that is read only while it runs, for weights and code.
    """

    sram_bytes: _Size
    flash_bytes: _Size


class Power(Frozen):
    """Power that a device draws, in milliwatts, by what it is doing.

    Attributes:
        active_mw: While it computes.
        transmit_mw: While it sends.
        idle_mw: While it waits for the cloud.
    """

    active_mw: Sourced
    transmit_mw: Sourced
    idle_mw: Sourced


class Device(Frozen):
    """Speed, memory and power of one device.

    Attributes:
        name: Its name in the registry, or of the machine that was measured.
        about: What it is and how its numbers were found, in a line.
        speeds: What layers take, by class and kernel.
        overhead_ms: Time that one program takes beyond its layers.
        memory: What it holds, or None where that is no limit.
        power: What it draws, or None where its energy is not counted.
    """

    name: str
    about: str = ""
    speeds: tuple[Speed, ...] = Field(min_length=1)
    overhead_ms: Sourced
    memory: Memory | None = None
    power: Power | None = None

    @model_validator(mode="after")
    def _one_speed_each(self) -> Self:
        names = [speed.name for speed in self.speeds]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected one speed for each class and kernel, got two of {twice}")
        return self

    def __copy__(self) -> Self:
        copied = super().__copy__()
        # A copy may be given other speeds.
        copied.__dict__.pop("known_speeds", None)
        return copied

    @cached_property
    def known_speeds(self) -> Mapping[tuple[str, int | None], Speed]:
        """Speeds by class and kernel."""
        return {(speed.kind, speed.kernel): speed for speed in self.speeds}

    def speed_of(self, layer: Layer) -> Speed:
        """Return the speed of a layer's class and kernel, else of its class, else of any.

        Raises:
            ConfigError: The device knows none; zero would be a wrong price.
        """
        for key in ((layer.kind, layer.kernel), (layer.kind, None), ("any", None)):
            if key in self.known_speeds:
                return self.known_speeds[key]
        kernel = f" with kernel {layer.kernel}" if layer.kernel else ""
        names = ", ".join(speed.name for speed in self.speeds)
        raise ConfigError(
            f"device {self.name!r} has no speed for layer {layer.name!r}, of class {layer.kind!r}"
            f"{kernel}; it knows {names}: add one to its profile, or measure a network that has "
            "such layers with 'hybridge profile'"
        )

    def slowed(self, times: float) -> "Device":
        """Return a device that takes ``times`` as long for every layer."""
        if times == 1:
            return self
        speeds = tuple(speed.slowed(times) for speed in self.speeds)
        return self.model_copy(update={"name": f"{self.name} / {times:g}", "speeds": speeds})

    def numbers(self) -> Iterator[tuple[str, Sourced]]:
        """Yield every number with its name, for a listing."""
        for speed in self.speeds:
            for name, number in speed.numbers():
                yield f"{name} [{speed.name}]", number
        yield "overhead_ms", self.overhead_ms
        for part in (self.memory, self.power):
            if part is not None:
                yield from part

    def plain(self) -> dict[str, Any]:
        """Return the profile as plain data, as its file holds it."""
        return self.model_dump(mode="json", exclude_none=True)

    def save(self, path: Path) -> None:
        """Write the profile as JSON."""
        write_json(path, self.plain())


devices: Registry[Device] = Registry("device")
"""Every device profile that is built in, by name."""

powers: Registry[Power] = Registry("power")
"""What devices draw, by name."""


def device_named(name: str) -> Device:
    """Return a preset, or the profile in a file whose name ends with ``.json``.

    Raises:
        UnknownNameError: There is no such preset; names the nearest.
        DataError: The file cannot be read, or holds no profile.
    """
    return load_device(Path(name)) if name.endswith(_SUFFIX) else devices.get(name)


def load_device(path: Path) -> Device:
    """Return the profile in a JSON file; raises `DataError` where there is none."""
    hint = "'hybridge devices NAME --json' prints one to compare with"
    return read_json_as(Device, path, "device profile", hint)
