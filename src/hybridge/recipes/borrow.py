"""What a recipe takes ``from`` another file, and what it says differently."""

from pathlib import Path
from typing import Any

import yaml

from hybridge.errors import ConfigError

KEY = "from"


def read_recipe(path: Path) -> dict[str, Any]:
    """Return the keys and values of a YAML file, as they stand there.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read recipe {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"recipe {path} is not YAML: {reason}") from error
    except RecursionError as error:
        raise ConfigError(f"recipe {path} is nested too deeply") from error
    if not isinstance(content, dict):
        raise ConfigError(f"recipe {path}: expected keys and values, got {type(content).__name__}")
    return content


def with_borrowed(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a recipe in which every part with ``from: FILE`` is that file's, changed.

    What else the part says takes the place of what the file says: key by key, to any depth; a list
    or a value as a whole; and null takes a key of the file away. Files are looked for beside the
    one that names them, and may borrow, too.

    Args:
        content: Of the recipe; left as it is.
        path: Of the recipe.

    Raises:
        ConfigError: A file cannot be read, or takes from itself.
    """
    return _Borrowing((path.resolve(),)).completed(content)


class _Borrowing:
    """Completes what one file says.

    Args:
        files: That are being completed, the one that is meant last.
    """

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        #: Of what has been completed, which an alias names again; None while it is.
        self._done: dict[int, Any] = {}

    def completed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return what a file says, completed."""
        try:
            completed: dict[str, Any] = self._inside(content)
        except RecursionError as error:
            raise ConfigError(f"recipe {self._files[-1]} is nested too deeply") from error
        return completed

    def _inside(self, value: Any) -> Any:
        if not isinstance(value, dict | list):
            return value
        if id(value) not in self._done:
            self._done[id(value)] = None
            self._done[id(value)] = self._new(value)
        if self._done[id(value)] is None:
            raise ConfigError(
                f"recipe {self._files[-1]} holds itself: an alias is inside its anchor"
            )
        return self._done[id(value)]

    def _new(self, value: dict[str, Any] | list[Any]) -> dict[str, Any] | list[Any]:
        if isinstance(value, list):
            return [self._inside(each) for each in value]
        own = {key: self._inside(each) for key, each in value.items() if key != KEY}
        return _changed(self._borrowed(value[KEY]), own) if KEY in value else own

    def _borrowed(self, name: object) -> dict[str, Any]:
        last = self._files[-1]
        if not isinstance(name, str):
            raise ConfigError(f"recipe {last}: expected the name of a file at '{KEY}', got {name}")
        try:
            path = (last.parent / name).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # links in circles, zero bytes
            raise ConfigError(f"recipe {last}: no file can be named {name!r} at '{KEY}'") from error
        if path in self._files:
            names = " -> ".join(each.name for each in (*self._files, path))
            raise ConfigError(f"recipe {path} takes from itself: {names}")
        return _Borrowing((*self._files, path)).completed(read_recipe(path))


def _changed(part: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    changed = dict(part)
    for key, value in change.items():
        below = part.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            changed[key] = _changed(below, value)
        elif value is None and key in part:
            del changed[key]
        else:
            changed[key] = value
    return changed
