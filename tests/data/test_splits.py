import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.data.dataset import ArrayDataset
from hybridge.data.splits import Split, folds, halves, hold_out
from hybridge.errors import ConfigError

counts = st.integers(2, 300)
seeds = st.integers(0, 2**32)


@given(counts, seeds)
def test_halves_are_disjoint_and_together_all(count, seed):
    calibration, reporting = halves(count, seed)
    assert len(reporting) - len(calibration) == count % 2
    assert sorted([*calibration, *reporting]) == list(range(count))


@given(counts, seeds, st.data())
def test_folds_are_disjoint_even_and_together_all(count, seed, data):
    k = data.draw(st.integers(2, count))
    parts = folds(count, k, seed)
    assert len(parts) == k
    assert sorted(np.concatenate(parts)) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_seed_always_gives_the_same_split_and_another_a_different_one():
    assert np.array_equal(halves(100, 3)[0], halves(100, 3)[0])
    assert not np.array_equal(halves(100, 3)[0], halves(100, 4)[0])


def test_hold_out_takes_its_share():
    used, held = hold_out(50, 0.2, 0)
    assert (len(used), len(held)) == (40, 10)
    assert not set(used) & set(held)


@pytest.mark.parametrize(("count", "share"), [(10, 0), (10, 1), (3, 0.2)])
def test_hold_out_of_nothing_or_all(count, share):
    with pytest.raises(ConfigError, match="both sides"):
        hold_out(count, share, 0)


def test_too_many_folds():
    with pytest.raises(ConfigError, match="from 2 to 3 folds, got 4"):
        folds(3, 4, 0)


def test_a_split_is_known_by_its_data_and_indices():
    pixels = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    data = ArrayDataset(pixels, np.zeros(6, int))
    split = Split(data, np.array([1, 4]))
    assert split.open().pixels(np.array([1])).item() == 4
    assert split.fingerprint == Split(data, np.array([1, 4])).fingerprint
    assert split.fingerprint == split.open().fingerprint
    assert split.fingerprint != Split(data, np.array([4, 1])).fingerprint
