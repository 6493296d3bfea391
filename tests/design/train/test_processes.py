"""Training in two processes: both end with one network, and one of them writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path

import numpy as np
import torch

from hybridge.data.dataset import ArrayDataset
from hybridge.design.nets import PixelNetwork, build
from hybridge.design.store import Store
from hybridge.design.train.loop import TrainSettings, fit
from hybridge.design.train.outputs import hash_network, keep_outputs
from hybridge.design.train.processes import is_main

folder = Path(sys.argv[1])
pixels = np.random.default_rng(0).integers(0, 256, (32, 12, 12, 1), dtype=np.uint8)
data = ArrayDataset(pixels, np.arange(32) % 2)
torch.manual_seed(0)
network = PixelNetwork(build("tiny_cnn", 2), (0.5,), (0.3,))
settings = TrainSettings(epochs=2, batch_size=16, augment="none")
fit(network, data, settings, seed=0, checkpoint=folder / "checkpoint", log_dir=folder / "logs")
keep_outputs(network, data, store=Store(folder / f"store{is_main()}"))
print(hash_network(network), flush=True)
"""


@pytest.mark.slow
def test_two_processes_end_with_one_network(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    folder = tmp_path / "out"
    folder.mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), str(folder)],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    one, other = done.stdout.split()
    assert one == other
    assert {path.name for path in folder.iterdir()} == {"checkpoint", "logs", "storeTrue"}
    assert len(list((folder / "logs").iterdir())) == 1
