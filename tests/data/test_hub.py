import numpy as np
import pytest
from test_sources import LABELS, PIXELS, SHAPE, write_parquet

from hybridge.data.hub import open_hub
from hybridge.errors import DataError

pytest.importorskip("datasets")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "pets").mkdir()
    write_parquet(tmp_path / "pets" / "train.parquet")
    return tmp_path / "pets"


def test_a_folder_laid_out_as_on_the_hub(folder):
    data = open_hub(str(folder), SHAPE)
    assert np.array_equal(data.pixels(np.arange(10)), PIXELS)
    assert np.array_equal(data.labels, LABELS)


def test_wrong_split_or_column(folder):
    with pytest.raises(DataError, match="split 'nope'"):
        open_hub(str(folder), SHAPE, split="nope")
    with pytest.raises(DataError, match="expected a column 'img', got"):
        open_hub(str(folder), SHAPE, image_column="img")


def test_labels_that_are_none_are_named(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "pets").mkdir()
    columns = {"image": [PIXELS[0].tobytes()] * 2, "label": ["cat", "dog"]}
    pq.write_table(pa.table(columns), tmp_path / "pets" / "train.parquet")
    with pytest.raises(DataError, match=r"pets', column 'label': expected integer labels"):
        open_hub(str(tmp_path / "pets"), SHAPE)
