import numpy as np
import pytest

from hybridge.codecs.codec import codec_named
from hybridge.data.dataset import ArrayDataset
from hybridge.errors import DataError, PlanError, SignatureError, UnknownNameError
from hybridge.plan.answers import Newest, softmax
from hybridge.plan.bundle import load_bundle, save_bundle
from hybridge.plan.plan import Leaf, Plan, Step
from hybridge.runtime.rehearse import rehearse
from hybridge.runtime.sessions import ProgramSession
from tiny_plans import PIXELS, images, pair_plan, partition_plan

COUNT = 13


class Vectors:
    """A data set of plain vectors, which counts how much is asked for at a time."""

    def __init__(self, width):
        self._rows = np.random.default_rng(0).normal(size=(COUNT, width)).astype(np.float32)
        self.labels = np.zeros(COUNT, np.int64)
        self.fingerprint = "v" * 64
        self.largest = 0

    def __len__(self):
        return COUNT

    def pixels(self, indices):
        self.largest = max(self.largest, len(indices))
        return self._rows[indices]


@pytest.fixture
def data():
    return ArrayDataset(images(COUNT), np.arange(COUNT) % 3)


def run(plan, program, **tensors):
    return ProgramSession(plan.programs[program]).run(tensors)


def test_a_rehearsal_says_what_each_program_says(tmp_path, data):
    plan = pair_plan(tmp_path)
    rehearsal = rehearse(plan, data, batch_size=5)
    for index, pixels in enumerate(images(COUNT)):
        base = run(plan, "base", pixels=pixels[None])
        assert rehearsal.score[()][index] == float(base["score"][0])
        np.testing.assert_array_equal(
            rehearsal.probabilities[(0,), None][index],
            softmax(base["logits"])[0].astype(np.float32),
        )
    logits = run(plan, "global", pixels=images(COUNT))["logits"]
    np.testing.assert_allclose(rehearsal.probabilities[(1,), "raw"], softmax(logits), rtol=1e-5)
    assert rehearsal.answers((1,), "raw").tolist() == logits.argmax(axis=1).tolist()
    assert rehearsal.truth.tolist() == data.labels.tolist()
    assert rehearsal.fingerprint == data.fingerprint
    rehearsal.check_fits(plan)


def test_every_codec_is_really_applied(tmp_path, data):
    plan = pair_plan(tmp_path)
    rehearsal = rehearse(plan, data, ["webp", "jpeg-70", "raw"])
    assert {codec for _, codec in rehearsal.payload_bytes} == {"raw", "webp", "jpeg-70"}
    assert set(rehearsal.payload_bytes[(1,), "raw"]) == {PIXELS.bytes_per_item}
    jpeg = codec_named("jpeg-70")
    encoded = jpeg.encode(images(COUNT))
    assert rehearsal.payload_bytes[(1,), "jpeg-70"].tolist() == list(map(len, encoded.payload))
    seen = run(plan, "global", pixels=jpeg.decode(encoded, 10**6))
    np.testing.assert_allclose(
        rehearsal.probabilities[(1,), "jpeg-70"], softmax(seen["logits"]), rtol=1e-5
    )
    lossless, raw = (rehearsal.probabilities[(1,), name] for name in ("webp", "raw"))
    np.testing.assert_array_equal(lossless, raw)
    assert not np.allclose(rehearsal.probabilities[(1,), "jpeg-70"], raw)


def test_a_fused_leaf_fuses_what_came_over_the_link(tmp_path, data):
    plan = pair_plan(tmp_path, fused=True)
    rehearsal = rehearse(plan, data)
    values = {
        "base.logits": run(plan, "base", pixels=images(COUNT))["logits"],
        "global.logits": run(plan, "global", pixels=images(COUNT))["logits"],
    }
    np.testing.assert_allclose(
        rehearsal.probabilities[(1,), "raw"],
        plan.root.then.children[1].then.combine.probabilities(values),
        rtol=1e-5,
    )


def test_what_the_cloud_says_alone_is_kept_for_every_codec(tmp_path, data):
    rehearsal = rehearse(pair_plan(tmp_path, fused=True), data, ["webp"], batch_size=5)
    pixels = images(COUNT)
    logits = run(pair_plan(tmp_path), "global", pixels=pixels)["logits"]
    assert rehearsal.alone.keys() == {("global", "raw"), ("global", "webp")}
    for said in rehearsal.alone.values():
        np.testing.assert_allclose(said, softmax(logits), rtol=1e-5)
        assert said.dtype == np.float32
    assert not np.allclose(rehearsal.probabilities[(1,), "raw"], softmax(logits), rtol=1e-3)


def test_half_a_network_says_nothing_alone(tmp_path):
    assert rehearse(partition_plan(tmp_path), Vectors(7)).alone == {}


def test_features_are_what_a_partition_sends(tmp_path):
    plan, data = partition_plan(tmp_path), Vectors(7)
    rehearsal = rehearse(plan, data, batch_size=4)
    assert data.largest == 4
    front = run(plan, "front", x=data.pixels(np.arange(COUNT)))
    for path, codec, program in [((0,), "raw", "far"), ((1,), None, "near")]:
        logits = run(plan, program, features=front["features"])["logits"]
        np.testing.assert_allclose(rehearsal.probabilities[path, codec], softmax(logits), rtol=1e-5)
    assert set(rehearsal.payload_bytes[(0,), "raw"]) == {5 * 4}


@pytest.mark.parametrize("batch_size", [1, 4, COUNT, 100])
def test_scores_do_not_depend_on_the_batch_size(tmp_path, data, batch_size):
    plan = pair_plan(tmp_path)
    one, other = (rehearse(plan, data, batch_size=size) for size in (batch_size, 3))
    np.testing.assert_array_equal(one.score[()], other.score[()])
    np.testing.assert_array_equal(one.probabilities[(0,), None], other.probabilities[(0,), None])


def test_a_rehearsal_travels_in_the_bundle(tmp_path, data):
    plan = pair_plan(tmp_path)
    save_bundle(plan, tmp_path / "bundle", rehearse(plan, data, ["webp"]))
    assert len(load_bundle(tmp_path / "bundle").rehearsal) == COUNT


def test_data_of_another_shape_is_refused(tmp_path):
    wrong = ArrayDataset(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(SignatureError, match=r"expected uint8 \(B, 4, 4, 3\)"):
        rehearse(pair_plan(tmp_path), wrong)


def test_a_codec_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(SignatureError, match="jpeg"):
        rehearse(partition_plan(tmp_path), Vectors(7), ["jpeg-90"])


def test_an_unknown_codec_is_corrected(tmp_path, data):
    with pytest.raises(UnknownNameError, match="did you mean 'jpeg-90'"):
        rehearse(pair_plan(tmp_path), data, ["jpg-90"])


def test_no_data_is_an_error(tmp_path):
    empty = ArrayDataset(images(0), np.zeros(0, np.int64), ["a"])
    with pytest.raises(DataError, match="empty"):
        rehearse(pair_plan(tmp_path), empty)


def test_two_cloud_steps_in_a_row_are_refused(tmp_path, data):
    programs = pair_plan(tmp_path).programs
    second = Step(
        program="base",
        place="cloud",
        feeds={"pixels": "pixels"},
        then=Leaf(combine=Newest(logits="base.logits")),
    )
    first = Step(program="global", place="cloud", feeds={"pixels": "pixels"}, then=second)
    plan = Plan(input=PIXELS, programs=programs, root=first, may_not_answer=True)
    with pytest.raises(PlanError, match="join their programs"):
        rehearse(plan, data)
