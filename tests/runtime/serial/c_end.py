"""The C sources, compiled for this machine with every warning and sanitizer, and spoken to."""

import shutil
import subprocess
from pathlib import Path

import pytest

import hybridge
from hybridge.runtime.wire.frames import Frame, Kind

FIRMWARE = Path(hybridge.__file__).parent / "firmware"
SOURCES = (FIRMWARE / "hybridge_frame.c", FIRMWARE / "hybridge_link.c")
FLAGS = (
    "-std=c99",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-DHYBRIDGE_FRAME_BYTES=1024",
    "-DHYBRIDGE_REPLY_BYTES=2048",
)


def compiler() -> str:
    """Return the C compiler; skips the test where there is none."""
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler here (gcc or cc), so the C end is not tested")
    return found


def compiled(main: Path, target: Path) -> Path:
    """Compile a program with the firmware's sources; skips the test without a compiler."""
    command = [compiler(), *FLAGS, "-I", FIRMWARE, "-o", target, main, *SOURCES]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return target


class CEnd:
    """The C end as a process that answers line by line."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def call(self, *words: object) -> str:
        self._write(*words)
        return self._line()

    def encode(self, frame: Frame) -> bytes:
        fields = (int(frame.kind), int(frame.please), frame.request, frame.number, frame.count)
        return from_hex(self.call("encode", *fields, to_hex(frame.body)))

    def decode(self, data: bytes) -> tuple[list[Frame], int]:
        """Return frames, and how many stretches were none."""
        self._write("decode", to_hex(data))
        frames = []
        while not (line := self._line()).startswith("end"):
            *numbers, body = line.split()
            kind, please, request, number, count = map(int, numbers)
            frames.append(Frame(Kind(kind), request, number, count, from_hex(body), bool(please)))
        return frames, int(line.split()[1])

    def close(self) -> None:
        self._process.stdin.close()
        assert self._process.wait(timeout=10) == 0
        self._process.stdout.close()

    def _write(self, *words: object) -> None:
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        line = self._process.stdout.readline()
        assert line, "the C end has ended; a sanitizer says why on standard error"
        return line.strip()


def to_hex(data: bytes) -> str:
    return data.hex() or "-"


def from_hex(text: str) -> bytes:
    return b"" if text == "-" else bytes.fromhex(text)
