"""The models a server has: one for every cloud program of its bundles."""

from collections.abc import Iterable, Iterator, Mapping

from hybridge.errors import ConfigError, RefusedError, did_you_mean
from hybridge.plan.program import Program
from hybridge.runtime.sessions import ProgramSession


class UnservedError(RefusedError):
    """No program of that name is served, or several are."""


class OtherVersionError(RefusedError):
    """The program is served, but another version of it."""


class Models:
    """Every program that is served, by name and by hash; loaded once each.

    A program is found under its own name, or under ``bundle/program`` where bundles share one.

    Args:
        bundles: The cloud programs of each bundle, by the bundle's name.
        threads: Threads within one operator of a session; 0 for one per core.
        loaded: Models whose programs are not loaded again where they are the same.

    Raises:
        ConfigError: There is no program to serve.
        BundleError: A program cannot be loaded.
    """

    def __init__(
        self,
        bundles: Mapping[str, Iterable[Program]],
        threads: int = 1,
        loaded: "Models | None" = None,
    ) -> None:
        self._sessions: dict[str, ProgramSession] = {}
        self._loaded = {} if loaded is None else loaded._sessions
        self._names: dict[str, list[str]] = {}
        for bundle, programs in bundles.items():
            for program in programs:
                self._add(bundle, program, threads)
        if not self._sessions:
            raise ConfigError(
                f"expected at least one cloud program to serve, found none in {sorted(bundles)}; "
                "give a bundle whose plan has a step in the cloud"
            )
        self._loaded = {}

    def _add(self, bundle: str, program: Program, threads: int) -> None:
        if program.sha256 not in self._sessions:
            loaded = self._loaded.get(program.sha256)
            self._sessions[program.sha256] = loaded or ProgramSession(program, threads)
        for name in (program.name, f"{bundle}/{program.name}"):
            hashes = self._names.setdefault(name, [])
            if program.sha256 not in hashes:
                hashes.append(program.sha256)

    @property
    def names(self) -> list[str]:
        """Names under which exactly one program is served, sorted."""
        return sorted(name for name, hashes in self._names.items() if len(hashes) == 1)

    @property
    def versions(self) -> dict[str, tuple[str, ...]]:
        """Hashes of the programs that are served under each name."""
        return {name: tuple(hashes) for name, hashes in self._names.items()}

    def _choices(self, name: str, hashes: list[str]) -> str:
        """Return by what the versions of a shared name can be told apart."""
        names = [other for other in self.names if other.endswith(f"/{name}")]
        by_name = f"ask for {' or '.join(names)}, or for" if names else "ask for"
        return f"{by_name} one of the versions {', '.join(hashes)}"

    def __iter__(self) -> Iterator[ProgramSession]:
        return iter(self._sessions.values())

    def find(self, name: str, sha256: str = "") -> ProgramSession:
        """Return the program called ``name``, in the version that ``sha256`` names.

        Args:
            name: The program's name, or ``bundle/program``.
            sha256: The version, or empty for the one that is served.

        Raises:
            UnservedError: There is no such program, or there are several and no version is given.
            OtherVersionError: It is served in another version.
        """
        hashes = self._names.get(name)
        if hashes is None:
            raise UnservedError(
                f"no program {name[:80]!r} is served{did_you_mean(name[:80], self._names)}; "
                f"served: {', '.join(self.names)}"
            )
        if sha256 in hashes:
            return self._sessions[sha256]
        if sha256:
            raise OtherVersionError(
                f"program {name!r} is asked for in version {sha256[:64]}, but is served in "
                f"{' and '.join(hashes)}; deploy one bundle to both ends"
            )
        if len(hashes) > 1:
            raise UnservedError(f"{name!r} is ambiguous; {self._choices(name, hashes)}")
        return self._sessions[hashes[0]]
