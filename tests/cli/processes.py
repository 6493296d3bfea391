"""Commands as processes of their own, with some packages hidden from them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: What a device that installed the bare package does not have.
DESIGN_PACKAGES = (
    "accelerate",
    "cryptography",
    "datasets",
    "jinja2",
    "kornia",
    "matplotlib",
    "mlxtend",
    "onnx",
    "onnxscript",
    "pyarrow",
    "scipy",
    "tensorboard",
    "torch",
    "yaml",
)
_HIDING = f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {DESIGN_PACKAGES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
from hybridge.cli.main import main
main()
"""


def command(*arguments: object, bare: bool = False) -> list[str]:
    """Return a command line; ``bare`` hides what the extra ``design`` brings."""
    start = ["-c", _HIDING] if bare else ["-m", "hybridge"]
    return [sys.executable, *start, *map(str, arguments)]


def finished(*arguments: object, bare: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        command(*arguments, bare=bare), capture_output=True, text=True, timeout=60
    )


@contextmanager
def serving(*arguments: object, bare: bool = False) -> "Iterator[tuple[dict, subprocess.Popen]]":
    """Run ``serve`` until the context ends; yields what it said, and its process."""
    process = subprocess.Popen(
        command("serve", *arguments, "--port", 0, bare=bare),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield json.loads(process.stdout.readline()), process
    finally:
        process.kill()
        process.communicate()
