import io

import numpy as np
import pytest
from PIL import Image

from hybridge.data import dataset as module
from hybridge.data.arrays import fit_arrays, open_arrays
from hybridge.data.dataset import ArrayDataset, ImageDataset, subset
from hybridge.errors import DataError, SignatureError
from hybridge.plan.tensors import Geometry

SHAPE = Geometry(height=4, width=6)


def arrays(count: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (count, *SHAPE.shape), dtype=np.uint8)
    return pixels, np.arange(count) % 3


def test_arrays_keep_pixels_labels_and_names():
    pixels, labels = arrays()
    data = ArrayDataset(pixels, labels)
    assert len(data) == 10
    assert data.class_count == 3
    assert data.class_names == ("0", "1", "2")
    assert data.geometry == SHAPE
    assert data.labels.dtype == np.int64
    assert np.array_equal(data.pixels(np.array([7, 0])), pixels[[7, 0]])


def test_fingerprint_depends_on_content_and_order_only():
    pixels, labels = arrays()
    data = ArrayDataset(pixels, labels)
    assert data.fingerprint == ArrayDataset(pixels.copy(), labels.copy()).fingerprint
    others = [
        ArrayDataset(pixels[::-1], labels),
        ArrayDataset(pixels, (labels + 1) % 3),
        ArrayDataset(pixels, labels, ("a", "b", "c")),
        subset(data, np.array([1, 2])),
        subset(data, np.array([2, 1])),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_subset_of_a_subset():
    pixels, labels = arrays()
    part = subset(subset(ArrayDataset(pixels, labels), np.array([9, 5, 3])), np.array([2, 0]))
    assert np.array_equal(part.pixels(np.array([0, 1])), pixels[[3, 9]])
    assert part.labels.tolist() == [0, 0]
    assert part.class_count == 3


def test_subset_outside_the_dataset():
    with pytest.raises(DataError, match="from 0 to 9, got 3 to 10"):
        subset(ArrayDataset(*arrays()), np.array([3, 10]))


def test_labels_that_name_no_class():
    pixels, labels = arrays()
    with pytest.raises(DataError, match="row 2: expected a label from 0 to 1, got 2"):
        ArrayDataset(pixels, labels, ("a", "b"))
    with pytest.raises(DataError, match="as many labels"):
        ArrayDataset(pixels, labels[:3])
    with pytest.raises(SignatureError, match="float64"):
        ArrayDataset(pixels / 255, labels)


@pytest.mark.parametrize("resident_bytes", [0, 1 << 20])
def test_images_are_decoded_once_where_they_are_small(monkeypatch, resident_bytes):
    monkeypatch.setattr(module, "RESIDENT_BYTES", resident_bytes)
    pixels, labels = arrays()
    read = []

    def encoded(row: int) -> bytes:
        read.append(row)
        buffer = io.BytesIO()
        Image.fromarray(pixels[row]).save(buffer, "PNG")
        return buffer.getvalue()

    data = ImageDataset(encoded, str, labels=labels, class_names="abc", geometry=SHAPE, content="x")
    for _ in range(2):
        assert np.array_equal(data.pixels(np.array([4, 2])), pixels[[4, 2]])
    assert read == ([4, 2] if resident_bytes else [4, 2, 4, 2])


def test_an_image_that_cannot_be_decoded_is_named():
    data = ImageDataset(
        lambda row: b"broken",
        lambda row: f"file.parquet, row {row}",
        labels=np.zeros(3, np.int64),
        class_names=["a"],
        geometry=SHAPE,
        content="x",
    )
    with pytest.raises(DataError, match=r"file\.parquet, row 2: expected an encoded image"):
        data.pixels(np.array([2]))


def test_arrays_are_resized_where_the_geometry_differs():
    pixels, labels = arrays()
    grey = Geometry(height=2, width=2, channels=1)
    data = fit_arrays(pixels, labels, grey)
    assert data.pixels(np.arange(10)).shape == (10, 2, 2, 1)
    assert data.fingerprint != fit_arrays(pixels, labels, SHAPE).fingerprint


def test_npz_file(tmp_path):
    pixels, labels = arrays()
    path = tmp_path / "data.npz"
    np.savez(path, pixels=pixels, labels=labels, class_names=np.array(["x", "y", "z"]))
    data = open_arrays(path, SHAPE)
    assert data.class_names == ("x", "y", "z")
    assert np.array_equal(data.pixels(np.arange(10)), pixels)


def test_npz_file_that_is_missing_or_lacks_an_array(tmp_path):
    with pytest.raises(DataError, match=r"expected a NumPy \.npz file"):
        open_arrays(tmp_path / "none.npz", SHAPE)
    np.savez(tmp_path / "half.npz", pixels=arrays()[0])
    with pytest.raises(DataError, match="expected an array 'labels', got pixels"):
        open_arrays(tmp_path / "half.npz", SHAPE)
