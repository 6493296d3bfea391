import numpy as np
import pytest

from hybridge.cost.device import device_named
from hybridge.errors import ConfigError, UnknownNameError
from hybridge.recipes import profile
from hybridge.recipes.profile import profile_host

FEW = {("conv", 3): 6, ("linear", 0): 6, ("pool", 0): 5, ("other", 0): 6}


@pytest.fixture(scope="module")
def found():
    return profile_host(["tiny_cnn"], rounds=2, drawn=FEW)


def test_the_profile_prices_the_network_that_it_was_compared_with(found, tmp_path):
    found.device.save(tmp_path / "host.json")
    assert device_named(str(tmp_path / "host.json")) == found.device
    names = {speed.name for speed in found.device.speeds}
    assert names == {"conv 3", "linear", "pool", "other", "norm", "activation", "add"}
    (whole,) = found.wholes
    assert whole.name == "tiny_cnn"
    assert 0.1 < whole.estimated_ms / whole.measured_ms < 10
    assert found.median_error == whole.error


def test_every_number_says_where_it_comes_from(found):
    for name, number in found.device.numbers():
        assert "onnxruntime" in number.source, name
        assert not number.assumed


def test_what_is_judged_was_not_fitted_on():
    met = {each for graph in ("tiny_cnn",) for each in profile.specs_of(profile._graph(graph))}
    fitted, held_out = profile._draw(profile.DRAWN, met, np.random.default_rng(0))
    assert not {*fitted} & {*held_out}
    assert not {*fitted, *held_out} & met
    assert {(each.kind, each.layer.kernel) for each in held_out} == {
        (each.kind, each.layer.kernel) for each in fitted
    }


def test_the_same_seed_draws_the_same_layers():
    draws = [profile._draw(profile.DRAWN, set(), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_bad_input_is_refused_before_anything_is_measured():
    with pytest.raises(UnknownNameError, match="did you mean 'tiny_cnn'"):
        profile_host(["tiny_cn"])
    with pytest.raises(
        ConfigError, match=r"network 'resnet50' has layer 'conv1' of class 'conv 7'"
    ):
        profile_host(["resnet50"], drawn=FEW)
