"""Networks that a search found, taken out of the supernet for good."""

import numpy as np
import pytest
import torch

from hybridge.design.store import Store
from hybridge.design.supernet.evaluate import Evaluator, Images, Rung
from hybridge.design.supernet.judge import Subnet
from hybridge.design.train.outputs import compute_outputs
from hybridge.recipes.pair_networks import TakenOut, calibration_images
from hybridge.recipes.supernet import new_supernet
from hybridge.recipes.training import read_weights_of
from tiny_search import SIDE, opened, write_images


def test_a_network_that_an_earlier_run_wrote_stays_as_it_is(tmp_path):
    """Else statistics of another number of threads would make it another network."""
    write_images(tmp_path)
    recipe = opened().supernet
    network = new_supernet(recipe, 3).eval()
    subnet = Subnet(recipe.elastic().space.smallest, SIDE)

    def written(images):
        calibration = calibration_images(recipe, tmp_path, images)
        path = TakenOut(recipe, network, calibration, tmp_path / "networks").config(subnet).weights
        return path.stat().st_ino, path.read_bytes()

    first = written(8)
    assert written(8) == first
    assert written(12)[1] != first[1]


@pytest.mark.parametrize("resolution", [24, SIDE])
def test_a_network_answers_what_it_did_when_it_was_evaluated(tmp_path, resolution):
    write_images(tmp_path)
    recipe = opened().supernet
    network = new_supernet(recipe, 3).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.nn.init.normal_(network.network.classifier.weight)
    space = recipe.elastic().space
    subnet = Subnet(space.canonical(space.random(np.random.default_rng(0))), resolution)
    held_out = recipe.data.validation.open(recipe.geometry(), tmp_path)
    calibration = calibration_images(recipe, tmp_path, 12)
    images = Images(calibration_images(recipe, tmp_path, 16), held_out)
    rungs = (Rung(calibration_images=4), Rung(calibration_images=12))
    evaluated = Evaluator(network, images, Store(tmp_path), rungs).measure(subnet, 1)
    taken = TakenOut(recipe, network, calibration, tmp_path / "networks")
    config = taken.config(subnet)
    assert taken.config(subnet) is config
    built = config.new(3, 0, "base")
    read_weights_of(config, built, tmp_path)
    logits = compute_outputs(built, held_out).logits
    # Images that are scaled down here are rounded to whole numbers there.
    apart = np.sort(logits, axis=1)
    clear = apart[:, -1] - apart[:, -2] > (0 if resolution == SIDE else 0.05 * logits.std())
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(logits.argmax(1)[clear], evaluated.value["label"][clear])
