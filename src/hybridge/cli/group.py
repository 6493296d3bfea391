"""The group of all commands: what a user can mend is told in one line, with exit code 2."""

import errno
import sys
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from hybridge.errors import HybridgeError, MissingExtraError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

#: The extra that brings each optional package, by the name under which it is imported.
EXTRAS = {
    "pyarrow": "data",
    "mlxtend": "demo",
    "prometheus_client": "serve",
    "cryptography": "trust",
    **dict.fromkeys(
        (
            "accelerate",
            "datasets",
            "jinja2",
            "kornia",
            "matplotlib",
            "onnx",
            "onnxscript",
            "scipy",
            "tensorboard",
            "torch",
            "yaml",
        ),
        "design",
    ),
}


class Commands(TyperGroup):
    """Runs a command; errors that are the user's to mend come out as ``error: ...``."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that ``ctx`` names."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            print(f"error: {message}", file=sys.stderr)
            raise typer.Exit(EXIT_BAD_INPUT) from error


def explain(error: Exception) -> str | None:
    """Return one line for an error that a user can mend, or None for a fault of ours."""
    match error:
        case ValidationError():
            message = "; ".join(_fault(fault) for fault in error.errors(include_url=False))
        case ImportError():
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                return None
            message = str(MissingExtraError(package, EXTRAS[package]))
        case OSError():
            # A reader that has gone, as of `hybridge nets | head -1`, is no error to tell of.
            if error.errno == errno.EPIPE:
                return None
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        case HybridgeError():
            message = str(error)
        case _ if hasattr(error, "format_message"):  # the parser's own; its class has moved
            message = f"{error.format_message()} (see '{_command(error)} --help')"
        case _:
            return None
    return " ".join(message.split())


def _command(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return "hybridge" if context is None else str(context.command_path)


def _fault(fault: Any) -> str:
    where = ".".join(map(str, fault["loc"]))
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
