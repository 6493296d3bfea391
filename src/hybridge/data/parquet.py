"""Images in Parquet files, as the Hugging Face hub stores them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hybridge.data.cache import cache_folder, hash_content
from hybridge.data.dataset import Dataset, ImageDataset, check_labels
from hybridge.errors import DataError, MissingExtraError
from hybridge.files import replacing
from hybridge.hashing import hash_json
from hybridge.plan.tensors import Geometry

#: Files up to this size are read into memory; larger ones are mapped from an unpacked copy.
HELD_BYTES = 1 << 30


def open_parquet(
    path: Path, geometry: Geometry, *, image_column: str = "image", label_column: str = "label"
) -> Dataset:
    """Open a Parquet file of images, or a folder of such files taken in the order of their names.

    Args:
        path: The file or folder.
        geometry: What the images are made to fit.
        image_column: Column of encoded images: binary, or a struct with a field ``bytes``.
        label_column: Column of integer labels.

    Raises:
        DataError: A file or column is missing or not what it should be.
        MissingExtraError: pyarrow is not installed.
    """
    files = _files(path)
    content = hash_json([hash_content(file) for file in files])
    table = _table(files, content, (image_column, label_column))
    stored = table.column(label_column)
    if stored.null_count:
        raise DataError(
            f"{path}, column {label_column!r}: expected a label for every image, "
            f"got none for {stored.null_count}"
        )
    labels, names = check_labels(
        stored.to_numpy(),
        _class_names(table.schema, label_column),
        f"{path}, column {label_column!r}",
    )
    images = _encoded(table.column(image_column), f"{path}, column {image_column!r}")
    return ImageDataset(
        lambda row: _image_bytes(images[row].as_py()),
        lambda row: f"{path}, row {row}",
        labels=labels,
        class_names=names,
        geometry=geometry,
        content=content,
    )


def named_classes(path: Path, label_column: str) -> list[str] | None:
    """Return the class names that a Parquet file, or the first of a folder, gives; None if none.

    Raises:
        DataError: There is no such file, or it is none.
        MissingExtraError: pyarrow is not installed.
    """
    return _class_names(_schema(_files(path)[0]), label_column)


def _schema(file: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow", "data") from error
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"expected a Parquet file at {file}: {error}") from error


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise DataError(f"expected a Parquet file, or a folder with some, at {path}")
    return files


def _table(files: Sequence[Path], content: str, columns: tuple[str, str]) -> Any:
    """Return the two columns: in memory where they are small, else mapped from the cache."""
    schemas = [_schema(file) for file in files]
    import pyarrow as pa

    for file, schema in zip(files, schemas, strict=True):
        known = schema.names
        if missing := [column for column in columns if column not in known]:
            raise DataError(f"{file}: expected a column {missing[0]!r}, got {', '.join(known)}")
        for field, first in ((schema.field(c), schemas[0].field(c)) for c in columns):
            if field != first:
                raise DataError(f"{file}: expected column {first}, as in {files[0]}, got {field}")
    if sum(file.stat().st_size for file in files) <= HELD_BYTES:
        return pa.concat_tables([_read(file, columns) for file in files])
    unpacked = cache_folder() / "arrow" / f"{hash_json([content, columns])}.arrow"
    if not unpacked.exists():
        _unpack(files, columns, unpacked)
    return pa.ipc.open_file(pa.memory_map(str(unpacked))).read_all()


def _read(file: Path, columns: tuple[str, str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(file, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is damaged: {error}") from error


def _unpack(files: Sequence[Path], columns: tuple[str, str], target: Path) -> None:
    """Write the columns once in a form that can be mapped, one batch of rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A file's own order of columns is not ours, and batches must match the schema.
    schema = pq.ParquetFile(files[0]).schema_arrow
    schema = pa.schema([schema.field(column) for column in columns], metadata=schema.metadata)
    with replacing(target) as part, pa.ipc.new_file(str(part), schema) as writer:
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(1024, columns=list(columns)):
                writer.write_batch(batch.select(list(columns)))


def _encoded(column: Any, where: str) -> Any:
    """Return the column of image bytes within ``column``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
        kind = column.type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(f"{where}: expected encoded images (bytes), got {kind}")
    return column


def _image_bytes(data: bytes | None) -> bytes:
    if data is None:
        raise DataError("expected an encoded image, got nothing")
    return data


def _class_names(schema: Any, label_column: str) -> list[str] | None:
    """Return the class names that the hub writes into a file's schema, if it has any."""
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return None
    features = json.loads(stored).get("info", {}).get("features", {})
    names = features.get(label_column, {}).get("names")
    return list(names) if names else None
