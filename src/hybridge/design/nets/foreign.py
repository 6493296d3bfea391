"""Networks that others define: ``package.module:function`` and ``timm:NAME``."""

import importlib
from collections.abc import Callable
from typing import Any, cast

from torch import nn

from hybridge.errors import ConfigError, MissingExtraError, UnknownNameError, did_you_mean


def foreign_builder(name: str) -> Callable[..., nn.Module]:
    """Return the builder that ``name`` points to, called as ``builder(class_count, **options)``.

    Args:
        name: ``package.module:function``, or ``timm:`` and the name of one of timm's networks.

    Raises:
        UnknownNameError: There is no such function or network.
        ConfigError: What was found cannot be imported or called, or timm cannot be loaded.
        MissingExtraError: timm is asked for and not installed.
    """
    origin, _, target = name.partition(":")
    return _timm(target) if origin == "timm" else _function(origin, target)


def _function(module_name: str, function_name: str) -> Callable[..., nn.Module]:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UnknownNameError(
            f"no module {module_name!r} to take a network from: {error}; is it on PYTHONPATH?"
        ) from error
    except (Exception, SystemExit) as error:  # whatever the module's own code raises
        raise ConfigError(
            f"module {module_name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    found = getattr(module, function_name, None)
    if found is None:
        hint = did_you_mean(function_name, vars(module))
        raise UnknownNameError(f"module {module_name!r} has no {function_name!r}{hint}")
    if not callable(found):
        raise ConfigError(f"{module_name}:{function_name} is no function that builds a network")
    return cast(Callable[..., nn.Module], found)


def _timm(name: str) -> Callable[..., nn.Module]:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "timm") from error
    except RuntimeError as error:
        raise ConfigError(f"timm is installed, but cannot be loaded: {error}") from error
    if not timm.is_model(name):
        hint = did_you_mean(name, timm.list_models())
        raise UnknownNameError(f"timm has no network {name!r}{hint}")

    def builder(class_count: int, **options: Any) -> nn.Module:
        return cast(nn.Module, timm.create_model(name, num_classes=class_count, **options))

    return builder
