import numpy as np
import pytest
import torch

from hybridge.data import dataset as dataset_module
from hybridge.data.dataset import ArrayDataset
from hybridge.design.train.batches import Batches, augmentation
from hybridge.errors import DataError
from hybridge.plan.tensors import Geometry


def numbered(count: int = 23, size: int = 8) -> ArrayDataset:
    """Image ``i`` is filled with ``i``, and has label ``i % 5``."""
    pixels = (
        np.zeros((count, size, size, 3), np.uint8)
        + np.arange(count, dtype=np.uint8)[:, None, None, None]
    )
    return ArrayDataset(pixels, np.arange(count) % 5)


@pytest.mark.parametrize("resident_bytes", [0, 1 << 20])
def test_pixels_and_labels_belong_to_their_indices(monkeypatch, resident_bytes):
    monkeypatch.setattr(dataset_module, "RESIDENT_BYTES", resident_bytes)
    batches = Batches(numbered(), 5)
    assert len(batches) == 4
    seen = []
    for batch in batches.epoch():
        assert batch.pixels.dtype == torch.uint8
        assert torch.equal(batch.pixels[:, 0, 0, 0].long(), batch.indices)
        assert torch.equal(batch.labels, batch.indices % 5)
        seen += batch.indices.tolist()
    assert len(seen) == len(set(seen)) == 20


@pytest.mark.parametrize("count", [1, 2])
def test_few_batches_stream_as_well(monkeypatch, count):
    monkeypatch.setattr(dataset_module, "RESIDENT_BYTES", 0)
    assert len(list(Batches(numbered(4 * count), 4).epoch())) == count


def test_every_epoch_is_shuffled_anew():
    batches = Batches(numbered(), 23)
    torch.manual_seed(0)
    (first,), (second,) = batches.epoch(), batches.epoch()
    assert not torch.equal(first.indices, second.indices)
    torch.manual_seed(0)
    (again,) = batches.epoch()
    assert torch.equal(first.indices, again.indices)


def test_shards_share_each_batch():
    parts = []
    for shard in range(2):
        torch.manual_seed(0)
        parts.append([b.indices.tolist() for b in Batches(numbered(), 6, shard=(shard, 2)).epoch()])
    assert [len(rows) for rows in parts[0]] == [3, 3, 3]
    assert not {i for rows in parts[0] for i in rows} & {i for rows in parts[1] for i in rows}


def test_a_batch_larger_than_the_data_is_all_of_it():
    (batch,) = Batches(numbered(3), 100).epoch()
    assert sorted(batch.indices.tolist()) == [0, 1, 2]


def test_no_images_at_all():
    empty = ArrayDataset(np.zeros((0, 2, 2, 3), np.uint8), np.zeros(0, int), ("a",))
    with pytest.raises(DataError, match="empty"):
        Batches(empty, 4)


def test_cropping_shifts_and_mirrors_without_changing_pixels():
    geometry = Geometry(height=16, width=16)
    image = torch.randint(1, 256, (1, 16, 16, 3), dtype=torch.uint8)
    torch.manual_seed(1)
    changed = augmentation("crop_flip", geometry)(image.repeat(40, 1, 1, 1))
    assert changed.shape == (40, 16, 16, 3)
    assert changed.dtype == torch.uint8
    padded = torch.nn.functional.pad(image[0], (0, 0, 2, 2, 2, 2))
    crops = {
        crop.numpy().tobytes()
        for y in range(5)
        for x in range(5)
        for crop in (padded[y : y + 16, x : x + 16], padded[y : y + 16, x : x + 16].flip(1))
    }
    found = {row.numpy().tobytes() for row in changed}
    assert found <= crops
    assert len(found) > 15


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "crop_flip", "resized_crop_flip"])
def test_augmentation_keeps_shape_and_type(augment):
    pixels = torch.full((3, 12, 20, 1), 9, dtype=torch.uint8)
    changed = augmentation(augment, Geometry(height=12, width=20, channels=1))(pixels)
    assert changed.shape == pixels.shape
    assert changed.dtype == torch.uint8
    assert "crop" in augment or torch.equal(changed, pixels)
