import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hybridge.codecs import pixels as module
from hybridge.codecs.pixels import to_pixels
from hybridge.errors import DataError, SignatureError
from hybridge.plan.tensors import Geometry

SQUARE = Geometry(height=8, width=8)


def encoded(image: Image.Image, format_: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_)
    return buffer.getvalue()


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_pixels_that_fit_pass_through_untouched():
    pixels = noise(8, 8)
    assert to_pixels(pixels, SQUARE) is pixels


def test_bytes_image_and_array_give_the_same_pixels():
    pixels = noise(20, 31)
    image = Image.fromarray(pixels)
    from_array = to_pixels(pixels, SQUARE)
    assert np.array_equal(from_array, to_pixels(image, SQUARE))
    assert np.array_equal(from_array, to_pixels(encoded(image), SQUARE))


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from((1, 3)),
    st.sampled_from(("stretch", "crop")),
    st.floats(0.3, 1),
)
def test_any_image_fits_any_geometry(height, width, out_height, out_width, channels, fit, share):
    geometry = Geometry(
        height=out_height, width=out_width, channels=channels, fit=fit, crop_share=share
    )
    pixels = to_pixels(np.full((height, width, 3), 77, np.uint8), geometry)
    assert pixels.shape == geometry.shape
    assert pixels.dtype == np.uint8
    assert np.all(pixels == 77)


def test_crop_takes_the_centre_of_a_wide_image():
    image = np.zeros((8, 24, 3), np.uint8)
    image[:, 8:16] = 200
    assert np.all(to_pixels(image, SQUARE.model_copy(update={"fit": "crop"})) == 200)


def test_grey_becomes_colour_and_back():
    grey = noise(8, 8, 1)
    colour = to_pixels(grey, SQUARE)
    assert np.array_equal(colour, np.repeat(grey, 3, axis=2))
    assert np.array_equal(to_pixels(colour, Geometry(height=8, width=8, channels=1)), grey)
    assert np.array_equal(to_pixels(grey[..., 0], SQUARE), colour)


@pytest.mark.parametrize("data", [b"", b"no image", encoded(Image.fromarray(noise(9, 9)))[:99]])
def test_bytes_that_are_no_image(data):
    with pytest.raises(DataError, match="expected an encoded image"):
        to_pixels(data, SQUARE)


def test_an_image_that_is_too_large_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 99)
    with pytest.raises(DataError, match="at most 99 pixels, got 10 x 10"):
        to_pixels(encoded(Image.new("L", (10, 10))), SQUARE)


def test_sixteen_bits_are_refused_rather_than_clipped():
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    with pytest.raises(DataError, match="8 bits"):
        to_pixels(encoded(deep), SQUARE)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_image(array):
    with pytest.raises(SignatureError, match="expected uint8 pixels"):
        to_pixels(array, SQUARE)


@pytest.mark.parametrize(
    "image", [Image.new("L", (1_000_000, 1)), np.zeros((1_000_000, 1), np.uint8)]
)
def test_a_thin_image_is_not_blown_up_to_be_cropped(image):
    with pytest.raises(DataError, match="crop it first"):
        to_pixels(image, Geometry(height=224, width=224, fit="crop"))
    assert to_pixels(image, SQUARE).shape == SQUARE.shape


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_buffer_of_an_encoded_image_is_taken(kind):
    data = encoded(Image.fromarray(noise(8, 8)))
    assert np.array_equal(to_pixels(kind(data), SQUARE), noise(8, 8))


@pytest.mark.parametrize("thing", ["cat.png", None, [1, 2], 3.0])
def test_what_is_no_picture_at_all(thing):
    with pytest.raises(SignatureError, match=f"got {type(thing).__name__}"):
        to_pixels(thing, SQUARE)


@pytest.mark.parametrize("format_", ["EPS", "PCX"])
def test_only_listed_formats_are_opened(format_):
    with pytest.raises(DataError, match="expected an encoded image"):
        to_pixels(encoded(Image.fromarray(noise(8, 8)), format_), SQUARE)


def test_opened_images_are_checked_and_decoded_as_bytes_are(monkeypatch):
    data = encoded(Image.fromarray(noise(40, 40)))
    torn = Image.open(io.BytesIO(data[:-200]))
    with pytest.raises(DataError, match="cannot be decoded"):
        to_pixels(torn, SQUARE)
    monkeypatch.setattr(module, "MAX_PIXELS", 99)
    with pytest.raises(DataError, match="at most 99 pixels"):
        to_pixels(Image.open(io.BytesIO(data)), SQUARE)


def test_an_enormous_image_is_refused_without_a_warning_beside():
    header = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(header, "PNG")
    with pytest.raises(DataError, match="at most 64,000,000 pixels"):
        to_pixels(header.getvalue(), SQUARE)  # warnings are errors here
