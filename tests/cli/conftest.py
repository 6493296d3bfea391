"""What tests of the command line share: a tiny bundle, pictures, and a way to call."""

import socket
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import COUNT, make_bundle
from typer.testing import CliRunner

from hybridge.cli.main import app
from tiny_plans import NAMES, images


@dataclass(frozen=True)
class Called:
    """What a call came to."""

    status: int
    out: str
    err: str

    def assert_refused(self, *parts: str) -> None:
        """One line that says what is wrong, nothing else, and exit code 2."""
        assert (self.status, self.out) == (2, "")
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1
        for part in parts:
            assert part in self.err


@pytest.fixture
def call():
    def call(*arguments: object) -> Called:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Called(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def shared_bundle(tmp_path_factory):
    """A bundle that is only read."""
    return make_bundle(tmp_path_factory.mktemp("cli") / "shared")


@pytest.fixture
def own_bundle(tmp_path):
    """A bundle that a test may change."""
    return make_bundle(tmp_path / "own")


@pytest.fixture
def pictures(tmp_path):
    """The first images of the calibration data, as files."""
    paths = [tmp_path / f"image{row}.png" for row in range(6)]
    for path, pixels in zip(paths, images(COUNT), strict=False):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture
def arrays(tmp_path):
    """The calibration data, as a file of arrays."""
    path = tmp_path / "data.npz"
    np.savez(path, pixels=images(COUNT), labels=np.arange(COUNT) % 3, class_names=list(NAMES))
    return path


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
