import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hybridge.codecs.codec import Encoded, codec_named
from hybridge.errors import DataError, SignatureError

LIMIT = 1 << 24
DTYPES = ["uint8", "int8", "int32", "int64", "float16", "float32", "bool"]
LARGE = float(np.finfo(np.float32).max) / 4

shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)


def floats(dtype, most):
    width = np.dtype(dtype).itemsize * 8
    most = float(np.dtype(dtype).type(most))
    return hnp.arrays(dtype, shapes, elements=st.floats(-most, most, width=width))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_raw_is_exact_for_every_dtype(dtype, data):
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=1, min_side=0)))
    encoded = codec_named("raw").encode(array)
    decoded = codec_named("raw").decode(encoded, LIMIT)
    assert decoded.dtype == array.dtype
    assert encoded.payload_bytes == array.nbytes
    np.testing.assert_array_equal(decoded, array)


def test_raw_takes_strided_and_big_endian_arrays():
    array = np.arange(24, dtype=">f4").reshape(4, 6)[::2, ::3]
    decoded = codec_named("raw").decode(codec_named("raw").encode(array), LIMIT)
    np.testing.assert_array_equal(decoded, array)


@settings(deadline=None, max_examples=60)
@given(array=floats("float32", 65504))
def test_fp16_is_within_half_a_unit_in_the_last_place(array):
    encoded = codec_named("fp16").encode(array)
    decoded = codec_named("fp16").decode(encoded, LIMIT)
    assert decoded.dtype == np.float32
    assert encoded.payload_bytes == array.nbytes // 2
    assert (np.abs(decoded - array) <= np.maximum(np.abs(array) * 2.0**-11, 2.0**-25)).all()


@pytest.mark.parametrize(("dtype", "most"), [("float32", LARGE), ("float16", 65504)])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_int8_is_within_half_a_step_of_each_item(dtype, most, data):
    array = data.draw(floats(dtype, most))
    decoded = codec_named("int8-zstd").decode(codec_named("int8-zstd").encode(array), LIMIT)
    assert (decoded.dtype, decoded.shape) == (array.dtype, array.shape)
    exact = array.reshape(len(array), -1).astype(np.float64)
    lowest, highest = exact.min(axis=1, keepdims=True), exact.max(axis=1, keepdims=True)
    rounding = np.maximum(np.abs(lowest), np.abs(highest)) * 2 * np.finfo(dtype).eps + 1e-37
    bound = (highest - lowest) / 255 / 2 * (1 + 1e-4) + rounding
    assert (np.abs(decoded.reshape(len(array), -1) - exact) <= bound).all()


def test_int8_scales_each_item_by_its_own_range():
    array = np.stack([np.linspace(0, 1, 64), np.linspace(0, 1000, 64)]).astype(np.float32)
    decoded = codec_named("int8-zstd").decode(codec_named("int8-zstd").encode(array), LIMIT)
    assert np.abs(decoded[0] - array[0]).max() <= 1 / 500
    assert np.abs(decoded[1] - array[1]).max() <= 2


def test_int8_is_a_quarter_or_less_for_features():
    features = np.maximum(np.random.default_rng(0).normal(size=(2, 64, 16, 16)), 0)
    encoded = codec_named("int8-zstd").encode(features.astype(np.float32))
    assert encoded.payload_bytes < features.size


@pytest.mark.parametrize("name", ["raw", "fp16", "int8-zstd"])
def test_an_empty_batch_survives(name):
    encoded = codec_named(name).encode(np.zeros((0, 3), np.float32))
    assert codec_named(name).decode(encoded, LIMIT).shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("raw", np.float32(1)),
        ("raw", np.array([None])),
        ("fp16", np.zeros((1, 2), np.uint8)),
        ("fp16", np.array([[1e6]], np.float32)),
        ("fp16", np.array([[np.nan]], np.float32)),
        ("int8-zstd", np.zeros((1, 2), np.int64)),
        ("int8-zstd", np.array([[0, np.inf]], np.float32)),
        ("int8-zstd", np.array([[0, np.nan]], np.float32)),
        ("int8-zstd", np.array([[3e38, -3e38]], np.float32)),
        ("int8-zstd", np.zeros((1, 0), np.float32)),
    ],
)
def test_what_a_codec_cannot_hold_is_refused(name, array):
    with pytest.raises(SignatureError):
        codec_named(name).encode(np.asarray(array))


@pytest.mark.parametrize("name", ["raw", "fp16", "int8-zstd"])
@settings(deadline=None, max_examples=60)
@given(payload=st.binary(max_size=64))
def test_any_bytes_are_data_error_or_an_item(name, payload):
    try:
        decoded = codec_named(name).decode(Encoded(name, (payload,), "float32", (2, 3)), LIMIT)
    except DataError:
        return
    assert decoded.shape == (1, 2, 3)


@pytest.mark.parametrize("name", ["raw", "fp16", "int8-zstd"])
def test_batch_beyond_the_limit_is_refused(name):
    encoded = codec_named(name).encode(np.zeros((4, 100), np.float32))
    with pytest.raises(DataError, match="at most 1599 bytes"):
        codec_named(name).decode(encoded, 1599)


def test_zstandard_bomb_is_refused_by_its_header():
    bomb = b"\0" * 8 + zstandard.ZstdCompressor().compress(bytes(50_000_000))
    assert len(bomb) < 10_000
    with pytest.raises(DataError, match="expected 6"):
        codec_named("int8-zstd").decode(Encoded("int8-zstd", (bomb,), "float32", (2, 3)), LIMIT)


def test_forged_scale_is_refused():
    encoded = codec_named("int8-zstd").encode(np.ones((1, 4), np.float32))
    forged = np.array([0, np.inf], "<f4").tobytes() + encoded.payload[0][8:]
    with pytest.raises(DataError, match="finite"):
        codec_named("int8-zstd").decode(Encoded("int8-zstd", (forged,), "float32", (4,)), LIMIT)
