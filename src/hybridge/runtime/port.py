"""A serial port of this machine: bytes in and out, without waiting. Needs a POSIX terminal."""

import errno
import os
import termios
from contextlib import suppress
from pathlib import Path

from hybridge.closing import Closing
from hybridge.errors import ConfigError

#: Most bytes that wait to be sent; what is beyond is lost, as on the line itself, and asked again.
MAX_WAITING_BYTES = 1 << 16
_READ_BYTES = 4096


class PortLostError(Exception):
    """The other end has hung up, or the device is gone."""


class SerialPort(Closing):
    """An open port: 8 data bits, no parity, one stop bit, no flow control, no characters changed.

    Args:
        path: The device, such as ``/dev/ttyACM0``.
        baud: Bits per second; pseudo-terminals take any and keep to none.

    Raises `ConfigError` where it is no serial port, cannot be opened, or has no such speed.
    """

    def __init__(self, path: Path | str, baud: int = 115_200) -> None:
        self.path = Path(path)
        self._waiting = bytearray()
        speed = _speed(baud)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise ConfigError(f"cannot open the serial port {path}: {error.strerror}") from error
        try:
            _make_raw(self._fd, speed)
        except termios.error as error:
            os.close(self._fd)
            raise ConfigError(
                f"{path}: expected a serial port at {baud} bit/s, got something else; "
                "give a device such as /dev/ttyACM0"
            ) from error

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._fd

    @property
    def has_waiting(self) -> bool:
        """Whether there are bytes that the line has not taken yet."""
        return bool(self._waiting)

    def read(self) -> bytes:
        """Return what has come, perhaps nothing; raises `PortLostError` where none will come."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise PortLostError(os.strerror(error.errno or errno.EIO)) from error
        if not data:
            raise PortLostError("the other end has hung up")
        return data

    def write(self, data: bytes = b"") -> bool:
        """Send ``data`` after what waits, as far as the line takes it.

        Returns whether ``data`` is sent or waits; it is dropped where too much waits already.
        Raises `PortLostError` where the line is gone.
        """
        taken = len(self._waiting) + len(data) <= MAX_WAITING_BYTES
        if taken:
            self._waiting += data
        try:
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise PortLostError(os.strerror(error.errno or errno.EIO)) from error
        return taken

    def close(self) -> None:
        """Let go of the port; what waits is lost."""
        with suppress(OSError):
            os.close(self._fd)


def _speed(baud: int) -> int:
    speed = getattr(termios, f"B{baud}", None) if baud > 0 else None
    if speed is None:
        known = sorted(
            int(name[1:]) for name in dir(termios) if name.startswith("B") and name[1:].isdigit()
        )
        raise ConfigError(
            f"expected a speed that serial ports have, got {baud}; choose one of "
            f"{', '.join(map(str, filter(None, known)))}"
        )
    return int(speed)


def _make_raw(fd: int, speed: int) -> None:
    attributes = termios.tcgetattr(fd)
    control = attributes[6]
    control[termios.VMIN], control[termios.VTIME] = 0, 0
    flags = termios.CS8 | termios.CREAD | termios.CLOCAL
    termios.tcsetattr(fd, termios.TCSANOW, [0, 0, flags, 0, speed, speed, control])
    # What came before the speed was set is noise.
    termios.tcflush(fd, termios.TCIFLUSH)
