import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from hybridge.codecs.codec import Encoded, codec_named, codecs
from hybridge.errors import DataError, SignatureError, UnknownNameError

LIMIT = 1 << 24
IMAGE_CODECS = [*codecs.names("jpeg-*"), *codecs.names("webp*")]

pixels = st.tuples(
    st.integers(0, 3), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3])
).flatmap(lambda shape: hnp.arrays(np.uint8, shape))


def smooth(channels, size=32):
    ramp = np.add.outer(np.arange(size), np.arange(size)) * 255 // (2 * size)
    return np.repeat(ramp.astype(np.uint8)[None, :, :, None], channels, axis=3)


def test_every_promised_image_codec_is_registered():
    assert IMAGE_CODECS == [
        "jpeg-70",
        "jpeg-80",
        "jpeg-90",
        "jpeg-95",
        "webp",
        "webp-80",
        "webp-90",
    ]


def test_misspelt_codec_is_corrected():
    with pytest.raises(UnknownNameError, match="'jpeg-90'"):
        codec_named("jpg-90")


@pytest.mark.parametrize("name", IMAGE_CODECS)
@settings(deadline=None, max_examples=30)
@given(image=pixels)
def test_shape_and_dtype_survive_and_lossless_is_exact(name, image):
    codec = codec_named(name)
    encoded = codec.encode(image)
    decoded = codec.decode(encoded, LIMIT)
    assert (decoded.shape, decoded.dtype) == (image.shape, np.uint8)
    assert (encoded.codec, encoded.shape, len(encoded.payload)) == (
        name,
        image.shape[1:],
        len(image),
    )
    if codec.lossless:
        np.testing.assert_array_equal(decoded, image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", IMAGE_CODECS)
def test_a_smooth_image_is_smaller_and_close(name, channels):
    image = smooth(channels)
    encoded = codec_named(name).encode(image)
    decoded = codec_named(name).decode(encoded, LIMIT)
    assert encoded.payload_bytes < image.nbytes
    assert np.abs(decoded.astype(int) - image).max() <= 12


def test_one_channel_is_sent_as_a_grey_jpeg():
    payload = codec_named("jpeg-90").encode(smooth(1)).payload[0]
    assert Image.open(io.BytesIO(payload)).mode == "L"


@pytest.mark.parametrize("name", IMAGE_CODECS)
@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 2), np.uint8),
        np.zeros((1, 0, 4, 3), np.uint8),
        np.zeros((1, 1, 70_000, 1), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(name, array):
    with pytest.raises(SignatureError, match="raw"):
        codec_named(name).encode(array)


@pytest.mark.parametrize("name", IMAGE_CODECS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_damaged_payload_is_data_error_or_an_image_of_the_right_shape(name, data):
    codec = codec_named(name)
    payload = bytearray(codec.encode(smooth(3, 16)).payload[0])
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    try:
        decoded = codec.decode(Encoded(name, (bytes(payload[:cut]),), "uint8", (16, 16, 3)), LIMIT)
    except DataError:
        return
    assert decoded.shape == (1, 16, 16, 3)


@pytest.mark.parametrize("name", IMAGE_CODECS)
def test_message_for_a_corrupt_payload_tells_no_addresses(name):
    with pytest.raises(DataError) as caught:
        codec_named(name).decode(Encoded(name, (b"not an image",), "uint8", (4, 4, 3)), LIMIT)
    assert "0x" not in str(caught.value)


def test_image_bomb_is_refused_by_its_header():
    file = io.BytesIO()
    Image.new("L", (5000, 5000)).save(file, "JPEG")
    with pytest.raises(DataError, match="32 x 32 pixels, got 5000 x 5000"):
        codec_named("jpeg-90").decode(
            Encoded("jpeg-90", (file.getvalue(),), "uint8", (32, 32, 1)), LIMIT
        )


def test_batch_beyond_the_limit_is_refused_unread():
    encoded = Encoded("jpeg-90", (b"",) * 100, "uint8", (32, 32, 3))
    with pytest.raises(DataError, match="at most 1000 bytes"):
        codec_named("jpeg-90").decode(encoded, 1000)


def test_other_formats_do_not_pass_for_jpeg():
    webp = codec_named("webp").encode(smooth(3)).payload
    with pytest.raises(DataError, match="JPEG"):
        codec_named("jpeg-90").decode(Encoded("jpeg-90", webp, "uint8", (32, 32, 3)), LIMIT)


def test_payload_for_a_float_input_is_refused():
    with pytest.raises(DataError, match="float32"):
        codec_named("jpeg-90").decode(Encoded("jpeg-90", (b"",), "float32", (32, 32, 3)), LIMIT)
