"""K-SVD: a dictionary in which few atoms make up each signal (Aharon 2006, Rubinstein 2008).

Letters: ``N`` signals, ``D`` numbers in each, ``A`` atoms, ``T`` atoms that make up a signal.
"""

import torch
from torch import Tensor

#: Signals that are coded at once; each needs ``T * A`` numbers meanwhile.
_CHUNK = 256
_TINY = 1e-6


def k_svd(signals: Tensor, atoms: int, used: int, sweeps: int = 4) -> tuple[Tensor, Tensor]:
    """Return a dictionary and sparse codes, whose product is near the signals.

    Each sweep codes all signals by orthogonal matching pursuit, then fits one atom after another,
    with its codes, to what the others leave of the signals that use it. The fit is one step of
    the power iteration, as in the approximate K-SVD.

    Args:
        signals: ``(N, D)``, with its principal axes for coordinates, the foremost first: the
            first atoms are these.
        atoms: ``A``, at most ``D``.
        used: ``T``, at most ``A``.
        sweeps: How often codes and atoms take turns.

    Returns:
        The dictionary ``(A, D)``, with rows of length 1, and codes ``(N, A)``, each row with at
        most ``T`` numbers that are not zero.
    """
    dictionary = torch.eye(atoms, signals.shape[1], dtype=signals.dtype)
    codes = pursue(signals, dictionary, used)
    for sweep in range(sweeps):
        if sweep:
            codes = pursue(signals, dictionary, used)
        _fit_atoms(signals, dictionary, codes)
    return dictionary, codes


def pursue(signals: Tensor, dictionary: Tensor, used: int) -> Tensor:
    """Return codes ``(N, A)`` by orthogonal matching pursuit, in its batch form.

    Args:
        signals: ``(N, D)``.
        dictionary: ``(A, D)``, with rows of length 1.
        used: Atoms for each signal, ``T``.
    """
    gram = dictionary @ dictionary.T
    chunks = torch.split(signals @ dictionary.T, _CHUNK)
    return torch.cat([_pursue(likeness, gram, used) for likeness in chunks])


def _pursue(likeness: Tensor, gram: Tensor, used: int) -> Tensor:
    """Code signals of which only the products with the atoms are known, ``(N, A)``.

    The chosen atoms are made orthogonal one by one; of these, too, only products are kept.
    """
    count, atoms = likeness.shape
    rows = torch.arange(count)
    chosen = torch.zeros(count, used, dtype=torch.long)
    orthogonal = likeness.new_zeros(count, used, atoms)  # products with every atom
    triangle = likeness.new_zeros(count, used, used)  # the chosen atoms, by the orthogonal ones
    parts = likeness.new_zeros(count, used)  # the signals, by the orthogonal ones
    left = likeness.clone()  # what is not yet made up: its products with every atom
    for step in range(used):
        new = left.abs().scatter(1, chosen[:, :step], -1.0).argmax(1)
        chosen[:, step] = new
        overlap = orthogonal[rows, :step, new]  # (N, step)
        products = gram[new] - torch.bmm(overlap[:, None], orthogonal[:, :step]).squeeze(1)
        length = products[rows, new].clamp_min(_TINY).sqrt()
        orthogonal[:, step] = products / length[:, None]
        triangle[:, step, :step], triangle[:, step, step] = overlap, length
        parts[:, step] = left[rows, new] / length
        left = left - parts[:, step, None] * orthogonal[:, step]
    weights = torch.linalg.solve_triangular(triangle.mT, parts[..., None], upper=True)
    return torch.zeros_like(likeness).scatter(1, chosen, weights.squeeze(2))


def _fit_atoms(signals: Tensor, dictionary: Tensor, codes: Tensor) -> None:
    """Fit each atom and its codes in place, the others fixed."""
    missing = signals - codes @ dictionary
    for atom in range(len(dictionary)):
        users = codes[:, atom].nonzero().squeeze(1)
        if not len(users):
            _replace_atom(dictionary, atom, missing)
            continue
        own = missing[users] + torch.outer(codes[users, atom], dictionary[atom])
        found = own.T @ codes[users, atom]
        if found.norm() > _TINY * own.norm():
            dictionary[atom] = found / found.norm()
        codes[users, atom] = own @ dictionary[atom]
        missing[users] = own - torch.outer(codes[users, atom], dictionary[atom])


def _replace_atom(dictionary: Tensor, atom: int, missing: Tensor) -> None:
    """Put the signal that is worst made up in the place of an atom that none uses."""
    worst = missing[missing.square().sum(1).argmax()]
    if worst.norm() > 0:
        dictionary[atom] = worst / worst.norm()
