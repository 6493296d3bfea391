"""Things found by name: a duplicate name raises, a misspelt one is corrected."""

import fnmatch
from collections.abc import Iterator
from typing import Generic, TypeVar

from hybridge.errors import UnknownNameError, did_you_mean

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """A mapping from name to thing that never overwrites silently.

    Args:
        kind: What the things are, in the singular, for messages ("network", "codec").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, Thing] = {}

    def add(self, name: str, thing: Thing) -> Thing:
        """Register ``thing``; raises ``ValueError`` where the name is taken."""
        if name in self._things:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._things[name] = thing
        return thing

    def get(self, name: str) -> Thing:
        """Return the thing called ``name``; raises `UnknownNameError` with a suggestion."""
        try:
            return self._things[name]
        except KeyError:
            hint = did_you_mean(name, self._things) or f"; known: {', '.join(sorted(self._things))}"
            raise UnknownNameError(f"unknown {self.kind} {name!r}{hint}") from None

    def names(self, pattern: str = "*") -> list[str]:
        """Return the sorted names that match a shell-style ``pattern``."""
        return sorted(fnmatch.filter(self._things, pattern))

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
