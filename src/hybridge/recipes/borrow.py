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
    if not isinstance(content, dict):
        raise ConfigError(f"recipe {path}: expected keys and values, got {type(content).__name__}")
    return content


def with_borrowed(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a recipe in which every part with ``from: FILE`` is that file's, changed.

    What else the part says takes the place of what the file says: key by key, to any depth; a list
    or a value as a whole. Files are looked for beside the one that names them, and may borrow, too.

    Args:
        content: Of the recipe; left as it is.
        path: Of the recipe.

    Raises:
        ConfigError: A file cannot be read, or takes from itself.
    """
    try:
        return _completed(content, (path.resolve(),))
    except RecursionError as error:
        raise ConfigError(f"recipe {path} holds itself: an alias is inside its anchor") from error


def _completed(part: dict[str, Any], files: tuple[Path, ...]) -> dict[str, Any]:
    own = {key: _inside(value, files) for key, value in part.items() if key != KEY}
    return _changed(_borrowed(part[KEY], files), own) if KEY in part else own


def _inside(value: Any, files: tuple[Path, ...]) -> Any:
    if isinstance(value, list):
        return [_inside(each, files) for each in value]
    return _completed(value, files) if isinstance(value, dict) else value


def _borrowed(name: object, files: tuple[Path, ...]) -> dict[str, Any]:
    if not isinstance(name, str):
        raise ConfigError(f"recipe {files[-1]}: expected the name of a file at '{KEY}', got {name}")
    path = (files[-1].parent / name).resolve()
    if path in files:
        names = " -> ".join(each.name for each in (*files, path))
        raise ConfigError(f"recipe {path} takes from itself: {names}")
    return _completed(read_recipe(path), (*files, path))


def _changed(part: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    changed = dict(part)
    for key, value in change.items():
        below = part.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            changed[key] = _changed(below, value)
        else:
            changed[key] = value
    return changed
