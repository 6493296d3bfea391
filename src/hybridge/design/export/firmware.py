"""A firmware project: written out, built by make, run in QEMU."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from hybridge.errors import ConfigError, MissingToolError

#: What must be on the path, and the Debian packages that bring it.
TOOLS = {
    "make": "make",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}
_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")
_BUILD_S = 600


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a linked program takes, as ``arm-none-eabi-size`` counts.

    Attributes:
        text_bytes: Code and constants, weights among them.
        data_bytes: Variables that start with a value.
        bss_bytes: Variables that start at zero, and the stack's reserve.
    """

    text_bytes: int
    data_bytes: int
    bss_bytes: int


def check_tools() -> None:
    """Raise `MissingToolError` where a tool is missing; says which, and what to install."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        raise MissingToolError(
            f"building and running firmware needs {', '.join(missing)}, which is not installed; "
            f"on Debian or Ubuntu run: apt-get install {packages}"
        )
    _check_library()


def _check_library() -> None:
    """Raise `MissingToolError` where the compiler has no C library for the board."""
    command = ["arm-none-eabi-gcc", "-fsyntax-only", "-xc", "-"]
    done = subprocess.run(command, input="#include <math.h>\n", capture_output=True, text=True)
    if done.returncode != 0:
        raise MissingToolError(
            "building firmware needs newlib, the C library of arm-none-eabi-gcc, which is not "
            f"installed ({_first_error(done.stderr)}); on Debian or Ubuntu run: apt-get install "
            "libnewlib-arm-none-eabi"
        )


def copy_firmware(folder: Path) -> None:
    """Copy the firmware that comes with Hybridge to a folder: the board's, and the serial link."""
    shipped = files("hybridge") / "firmware"
    for item in (*(shipped / "cortex_m").iterdir(), *shipped.iterdir()):
        if item.is_file():
            (folder / item.name).write_bytes(item.read_bytes())


def build(folder: Path, memory: Mapping[str, int]) -> None:
    """Compile and link the project, for a memory that it keeps to from then on.

    Args:
        folder: Where it lies.
        memory: ``FLASH_BYTES``, ``RAM_BYTES``, ``STACK_BYTES``.

    Raises:
        ConfigError: It does not fit; says by how many bytes. Or the compiler refuses it, or does
            not come to an end.
    """
    lines = [f"{name} := {value}\n" for name, value in memory.items()]
    (folder / "memory.mk").write_text("".join(lines))
    try:
        done = _make(folder, "all")
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"the firmware in {folder} did not build within {_BUILD_S} s; build it by hand, or on "
            f"a machine that has time: make -C {folder}"
        ) from error
    if done.returncode == 0:
        return
    if found := _OVERFLOW.search(done.stderr):
        region, excess = found.groups()
        limit = memory[f"{region}_BYTES"]
        raise ConfigError(
            f"the program takes {limit + int(excess):,} bytes of {region}, the board has "
            f"{limit:,}: {int(excess):,} too many; choose a smaller network"
        )
    raise ConfigError(
        f"the firmware in {folder} does not build: {_first_error(done.stderr)}; "
        f"see all of it by: make -C {folder}"
    )


def run(folder: Path, program: str, timeout_s: float) -> None:
    """Run one program of the project in QEMU.

    Raises:
        ConfigError: It does not end with success, or not in time.
    """
    try:
        done = _make(folder, f"run-{program}", timeout_s=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"{program} did not end within {timeout_s:g} s in QEMU; give fewer images"
        ) from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise ConfigError(
            f"{program} failed in QEMU, and said: {said[0]}; see it by: "
            f"make -C {folder} run-{program}"
        )


def sizes_of(folder: Path, program: str) -> Sizes:
    """Return what a linked program takes."""
    listed = subprocess.run(
        ["arm-none-eabi-size", f"{program}.elf"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    text, data, bss, *_ = listed.stdout.splitlines()[1].split()
    return Sizes(int(text), int(data), int(bss))


def _make(
    folder: Path, *arguments: str, timeout_s: float = _BUILD_S
) -> subprocess.CompletedProcess[str]:
    """Run make; what it started ends with it, where it is ended before its time."""
    command = ["make", "--no-print-directory", "-s", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            told, errors = process.communicate(timeout=timeout_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, told, errors)


def _first_error(text: str) -> str:
    lines = text.strip().splitlines() or ["no message"]
    return next((line for line in lines if "error" in line), lines[0])
