"""Every error Hybridge raises on purpose.

::

    HybridgeError             anything a user can mend; the command line exits with 2
    ├── ConfigError           a recipe, option or argument that cannot work
    │   ├── InfeasibleError   a target nothing can reach; says what is feasible
    │   ├── MissingToolError  a program that is not installed; says what brings it
    │   └── UnknownNameError  a name no registry knows; suggests the nearest
    ├── DataError             a file, image or data set that is missing or not what it claims
    ├── SignatureError        a tensor of the wrong shape or dtype for a program
    ├── BundleError           a bundle that is damaged or not a bundle
    ├── PlanError             a plan whose parts do not fit
    ├── MissingExtraError     an optional dependency that is not installed
    └── TransportError        the cloud could not be asked, or did not answer
        └── RefusedError      the cloud answered, and refused

Each message says what was expected, what came, and what to do.
"""

import difflib
from collections.abc import Iterable


class HybridgeError(Exception):
    """Base of every error a user can mend."""


class ConfigError(HybridgeError):
    """A recipe, option or argument that cannot work."""


class InfeasibleError(ConfigError):
    """A target that no operating point reaches."""


class MissingToolError(ConfigError):
    """A program that is run from outside, and is not installed."""


class UnknownNameError(ConfigError):
    """A name that no registry knows."""


class DataError(HybridgeError):
    """A file, image or data set that is missing or not what it claims to be."""


class SignatureError(HybridgeError):
    """A tensor of the wrong shape or dtype for a program."""


class BundleError(HybridgeError):
    """A bundle that is damaged or not a bundle."""


class PlanError(HybridgeError):
    """A plan whose parts do not fit together."""


class MissingExtraError(HybridgeError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}, which is not installed; "
            f"run: pip install 'hybridge[{extra}]'"
        )
        self._given = package, extra

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), self._given  # else it is made anew from its message


class TransportError(HybridgeError):
    """The cloud could not be asked, or did not answer in time."""


class RefusedError(TransportError):
    """The cloud answered, and refused the request.

    Attributes:
        retry_after_ms: When it may be asked again, or None where it did not say.
    """

    retry_after_ms: int | None = None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or ``""`` where nothing known is near ``name``."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
