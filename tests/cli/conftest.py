"""What tests of the command line share: a tiny bundle, pictures, and a way to call."""

import socket
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hybridge.cli.main import app
from hybridge.data.dataset import ArrayDataset
from hybridge.plan.bundle import Bundle, save_bundle
from hybridge.plan.layers import Layer
from hybridge.plan.variants import with_threshold
from hybridge.runtime.rehearse import rehearse
from tiny_plans import NAMES, images, pair_plan

COUNT = 40
MACS = {"base": 2_000_000, "global": 10_000_000}


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


def make_bundle(folder, name: str = "tiny", codec: str = "raw") -> Bundle:
    """A rehearsed selective query that sends half of its calibration data."""
    folder.mkdir(parents=True)
    plan = pair_plan(folder, codec=codec)
    programs = {
        key: program.model_copy(
            update={
                "layers": (
                    Layer(name="l", kind="conv", macs=MACS[key], parameters=9, output_bytes=4),
                )
            }
        )
        for key, program in plan.programs.items()
    }
    plan = plan.model_copy(update={"programs": programs})
    data = ArrayDataset(images(COUNT), np.arange(COUNT) % 3, NAMES)
    rehearsal = rehearse(plan, data)
    halved = with_threshold(plan, float(np.median(rehearsal.score[()])))
    return save_bundle(halved, folder / "bundle", rehearsal, {"name": name, "seed": 7})


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
