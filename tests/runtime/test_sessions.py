import numpy as np
import pytest

from hybridge.errors import BundleError, ConfigError, SignatureError
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.sessions import ProgramSession
from tiny_plans import PIXELS, images, pair_programs


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return pair_programs(tmp_path_factory.mktemp("programs"))


@pytest.mark.parametrize("batch", [1, 5])
def test_outputs_come_by_name_in_the_programs_signature(programs, batch):
    session = ProgramSession(programs["base"])
    outputs = session.run({"pixels": images(batch)})
    programs["base"].check_outputs(outputs, batch)
    assert list(outputs) == ["logits", "score"]


def test_threads_do_not_change_the_answer(programs):
    one, two = (ProgramSession(programs["global"], threads) for threads in (1, 2))
    pixels = images(3)
    np.testing.assert_allclose(
        one.run({"pixels": pixels})["logits"], two.run({"pixels": pixels})["logits"], rtol=1e-5
    )


@pytest.mark.parametrize(
    "tensors",
    [
        {"pixels": np.zeros((1, 4, 4, 3), np.float32)},
        {"pixels": np.zeros((1, 4, 5, 3), np.uint8)},
        {"wrong": np.zeros((1, 4, 4, 3), np.uint8)},
    ],
)
def test_what_onnxruntime_refuses_is_a_signature_error(programs, tensors):
    with pytest.raises(SignatureError, match="'base'"):
        ProgramSession(programs["base"]).run(tensors)


def test_a_program_without_a_file_is_refused(programs, tmp_path):
    for path in (None, tmp_path / "gone.onnx"):
        with pytest.raises(BundleError, match="no file"):
            ProgramSession(programs["base"].model_copy(update={"path": path}))


def test_a_file_that_is_no_graph_is_refused(programs, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not onnx")
    with pytest.raises(BundleError, match=r"broken\.onnx"):
        ProgramSession(programs["base"].model_copy(update={"path": path}))


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_file_with_another_signature_is_refused(programs, side):
    other = TensorSpec(name="other", dtype="uint8", shape=PIXELS.shape)
    with pytest.raises(BundleError, match="other"):
        ProgramSession(programs["base"].model_copy(update={side: (other,)}))


def test_negative_threads_are_refused(programs):
    with pytest.raises(ConfigError, match="-1"):
        ProgramSession(programs["base"], threads=-1)
