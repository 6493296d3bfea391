"""Edge and cloud together, over a real socket."""

import numpy as np
import pytest

from hybridge.data.dataset import ArrayDataset
from hybridge.plan.bundle import load_bundle, save_bundle
from hybridge.plan.rehearsal import leaf_of_each, query_rate
from hybridge.plan.variants import with_threshold
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.rehearse import rehearse
from tiny_plans import images, pair_plan

COUNT = 40


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    plan = pair_plan(folder, codec="webp-80")
    data = ArrayDataset(images(COUNT), np.zeros(COUNT, np.int64), ["a", "b", "c"])
    rehearsal = rehearse(plan, data)
    median = with_threshold(plan, float(np.median(rehearsal.score[()])))
    return save_bundle(median, folder / "bundle", rehearsal)


@pytest.fixture(scope="module")
def address(bundle):
    held = load_bundle(bundle.path, place="cloud").plan.programs_at("cloud")
    with serving(Models({"tiny": held})) as address:
        yield address


def test_what_was_rehearsed_is_what_happens(bundle, address):
    rehearsal = bundle.rehearsal
    with EdgeRuntime(bundle.path, GrpcTransport(address)) as runtime:
        answers = runtime.predict_batch(list(images(COUNT)))
    assert [answer.failure for answer in answers] == [None] * COUNT
    sent = [answer.source == "cloud" for answer in answers]
    assert np.mean(sent) == query_rate(bundle.plan, rehearsal) == 0.5
    for index, (answer, leaf) in enumerate(
        zip(answers, leaf_of_each(bundle.plan, rehearsal), strict=True)
    ):
        codec = "webp-80" if leaf == (1,) else None
        said = rehearsal.probabilities[leaf, codec][index]
        np.testing.assert_allclose(answer.probabilities, said, rtol=1e-5)
        payload_bytes = rehearsal.payload_bytes[leaf, codec][index] if codec else 0
        assert answer.bytes_sent == payload_bytes


def test_a_server_that_is_gone_costs_no_answers(bundle):
    with EdgeRuntime(bundle.path, GrpcTransport("127.0.0.1:1", timeout_ms=200.0)) as runtime:
        answers = runtime.predict_batch(list(images(4)))
    assert [answer.source for answer in answers] == ["edge"] * 4
    assert [answer.label for answer in answers] == bundle.rehearsal.answers((0,))[:4].tolist()
    assert any(answer.failure for answer in answers)
