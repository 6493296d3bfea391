"""What is served now, and for a while what was served before."""

from collections.abc import Iterator

from hybridge.errors import RefusedError
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.sessions import ProgramSession


class Shelf:
    """The newest models, and older ones that are still found by whoever names their version.

    Args:
        models: The newest.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self._older: list[Models] = []

    def put(self, models: Models) -> None:
        """Make ``models`` the newest; those before stay until they are taken away."""
        self._older.insert(0, self.models)
        self.models = models

    def take_away(self, models: Models) -> None:
        """Let older models go."""
        self._older.remove(models)

    def find(self, name: str, sha256: str = "") -> ProgramSession:
        """Return a program as `Models.find` does: of the newest, or the one that is named."""
        try:
            return self.models.find(name, sha256)
        except RefusedError:
            for session in self._find_older(name, sha256):
                return session
            raise

    def _find_older(self, name: str, sha256: str) -> Iterator[ProgramSession]:
        for models in self._older if sha256 else ():
            try:
                yield models.find(name, sha256)
            except RefusedError:
                continue

    def __iter__(self) -> Iterator[ProgramSession]:
        """Iterate over every program that is found, once each."""
        sessions = {s.program.sha256: s for models in (self.models, *self._older) for s in models}
        return iter(sessions.values())
