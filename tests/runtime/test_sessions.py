import numpy as np
import onnx
import pytest

from hybridge.errors import BundleError, ConfigError
from hybridge.hashing import hash_file
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.sessions import ProgramSession
from tiny_plans import LOGITS, PIXELS, images, pair_programs, write_program


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
def test_what_onnxruntime_refuses_is_a_failure_of_the_program(programs, tensors):
    # Inputs are checked before, so that it is nobody's mistake but ours.
    with pytest.raises(BundleError, match="'base' failed to run"):
        ProgramSession(programs["base"]).run(tensors)


def test_a_program_without_a_file_is_refused(programs, tmp_path):
    for path in (None, tmp_path / "gone.onnx"):
        with pytest.raises(BundleError, match="no file"):
            ProgramSession(programs["base"].model_copy(update={"path": path}))


def test_a_file_that_is_no_graph_is_refused(programs, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not onnx")
    broken = programs["base"].model_copy(update={"path": path, "sha256": hash_file(path)})
    with pytest.raises(BundleError, match=r"broken\.onnx cannot be loaded"):
        ProgramSession(broken)


def test_a_file_that_was_changed_since_it_was_verified_is_refused(programs):
    swapped = programs["base"].model_copy(update={"path": programs["global"].path})
    with pytest.raises(BundleError, match="not the file that program 'base' means"):
        ProgramSession(swapped)


def test_weights_in_other_files_are_refused(programs, tmp_path, monkeypatch):
    path = tmp_path / "split.onnx"
    model = onnx.load(programs["global"].path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    split = programs["global"].model_copy(update={"path": path, "sha256": hash_file(path)})
    with pytest.raises(BundleError, match="cannot be loaded"):
        ProgramSession(split)


@pytest.mark.parametrize(
    ("dtype", "shape"), [("float32", (4, 4, 3)), ("uint8", (4, 12)), ("uint8", (4, 5, 3))]
)
def test_a_graph_of_another_dtype_rank_or_shape_is_refused(tmp_path, dtype, shape):
    odd = TensorSpec(name="pixels", dtype=dtype, shape=shape)
    program = write_program(tmp_path, "odd", odd, (LOGITS,), seed=0)
    with pytest.raises(BundleError, match="'pixels' should be"):
        ProgramSession(program.model_copy(update={"inputs": (PIXELS,)}))


def test_a_graph_for_one_image_at_a_time_is_refused(programs, tmp_path):
    model = onnx.load(programs["global"].path)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    batch.Clear()
    batch.dim_value = 1
    path = tmp_path / "single.onnx"
    path.write_bytes(model.SerializeToString())
    single = programs["global"].model_copy(update={"path": path, "sha256": hash_file(path)})
    with pytest.raises(BundleError, match="free batch axis"):
        ProgramSession(single)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_file_with_another_signature_is_refused(programs, side):
    other = TensorSpec(name="other", dtype="uint8", shape=PIXELS.shape)
    with pytest.raises(BundleError, match="other"):
        ProgramSession(programs["base"].model_copy(update={side: (other,)}))


def test_negative_threads_are_refused(programs):
    with pytest.raises(ConfigError, match="-1"):
        ProgramSession(programs["base"], threads=-1)
