import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hybridge.design.compress.sparse import k_svd, pursue


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(signals, dictionary, codes):
    return float((signals - codes @ dictionary).norm() / signals.norm())


def pursued_one_by_one(signal, dictionary, used):
    """Orthogonal matching pursuit as in the books."""
    chosen, left = [], signal
    for _ in range(used):
        likeness = (dictionary @ left).abs()
        likeness[chosen] = -1
        chosen.append(int(likeness.argmax()))
        atoms = dictionary[chosen]
        weights = torch.linalg.lstsq(atoms.T, signal[:, None]).solution[:, 0]
        left = signal - weights @ atoms
    codes = torch.zeros(len(dictionary), dtype=signal.dtype)
    codes[chosen] = weights
    return codes


@given(seed=st.integers(0, 1000), used=st.integers(1, 5))
def test_batch_pursuit_is_pursuit(seed, used):
    signals, dictionary = random(6, 10, seed=seed).double(), random(14, 10, seed=seed + 1).double()
    dictionary /= dictionary.norm(dim=1, keepdim=True)
    expected = torch.stack([pursued_one_by_one(each, dictionary, used) for each in signals])
    assert torch.allclose(pursue(signals, dictionary, used), expected, atol=1e-8)


def test_sweeps_come_nearer():
    signals = random(200, 30) @ torch.diag(torch.linspace(2, 0.2, 30))
    errors = [error(signals, *k_svd(signals, 20, 4, sweeps)) for sweeps in (0, 1, 4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.9 * errors[0]


def test_codes_are_sparse_and_atoms_of_length_one():
    dictionary, codes = k_svd(random(300, 16), 12, 3)
    assert codes.shape == (300, 12)
    assert int((codes != 0).sum(1).max()) <= 3
    assert torch.allclose(dictionary.norm(dim=1), torch.ones(12), atol=1e-5)


def test_signals_made_of_few_atoms_are_found_again():
    hidden, chosen = random(8, 16), random(400, 8, seed=1)
    chosen *= torch.zeros(400, 8).scatter(1, random(400, 8, seed=2).topk(2).indices, 1.0)
    signals = chosen @ hidden
    axes = torch.linalg.eigh(signals.T @ signals).eigenvectors.flip(1)
    assert error(signals @ axes, *k_svd(signals @ axes, 8, 2, sweeps=30)) < 0.3


@pytest.mark.parametrize("signals", [torch.zeros(20, 8), torch.ones(20, 8), torch.eye(8)])
def test_signals_with_nothing_to_learn(signals):
    dictionary, codes = k_svd(signals, 6, 2)
    assert dictionary.isfinite().all()
    assert codes.isfinite().all()
