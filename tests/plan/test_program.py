import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hybridge.errors import SignatureError
from hybridge.plan.layers import Layer
from hybridge.plan.program import Program
from hybridge.plan.tensors import Geometry, TensorSpec
from tiny_plans import LOGITS, PIXELS, SCORE, images

PROGRAM = Program(
    name="base",
    sha256="a" * 64,
    size_bytes=1,
    inputs=(PIXELS,),
    outputs=(LOGITS, SCORE),
    layers=(
        Layer(name="stem", kind="conv", kernel=3, macs=100, parameters=10, output_bytes=4),
        Layer(name="head", kind="linear", macs=23, parameters=7, output_bytes=4),
    ),
)


def outputs(batch):
    return {"logits": np.zeros((batch, 3), np.float32), "score": np.zeros(batch, np.float32)}


def test_costs_are_summed_over_layers():
    assert (PROGRAM.macs, PROGRAM.parameters) == (123, 17)


@pytest.mark.parametrize("name", ["kernel", "macs", "parameters", "output_bytes"])
@pytest.mark.parametrize("count", [-1, 10**400])
def test_counts_of_a_layer_are_no_less_than_nothing_and_fit_a_float(name, count):
    with pytest.raises(ValidationError, match=name):
        Layer.model_validate({**PROGRAM.layers[0].model_dump(), name: count})


@given(st.integers(0, 5))
def test_any_batch_of_the_right_kind_is_taken(batch):
    PROGRAM.check_inputs({"pixels": images(batch)})
    PROGRAM.check_outputs(outputs(batch), batch)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"image": images(1)},
        {"pixels": images(1), "more": images(1)},
        {"pixels": images(1).astype(np.float32)},
        {"pixels": images(1)[0]},
        {"pixels": images(1)[:, :2]},
        {"pixels": np.uint8(3)},
    ],
)
def test_anything_else_is_refused(tensors):
    with pytest.raises(SignatureError):
        PROGRAM.check_inputs(tensors)


def test_outputs_for_another_batch_are_refused():
    with pytest.raises(SignatureError, match="for 2 inputs, got 1"):
        PROGRAM.check_outputs(outputs(1), batch=2)


def test_a_message_says_what_was_expected_and_what_came():
    with pytest.raises(SignatureError, match=r"uint8 \(B, 4, 4, 3\), got float32 \(1, 2\)"):
        PIXELS.check(np.zeros((1, 2), np.float32))


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        PROGRAM.model_validate(PROGRAM.model_dump() | {"name": name})


def test_bytes_of_one_item():
    assert PIXELS.bytes_per_item == 48
    assert TensorSpec(name="s", dtype="float16", shape=()).bytes_per_item == 2


def test_geometry_gives_the_shape_of_pixels():
    assert Geometry(height=2, width=3, channels=1).shape == (2, 3, 1)
    with pytest.raises(ValueError, match="greater than 0"):
        Geometry(height=0, width=3)


def test_a_program_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        PROGRAM.name = "other"
