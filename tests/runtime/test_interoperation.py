"""Our edge before another's server, and another's client before ours."""

import math

import numpy as np
import pytest

from hybridge.errors import RefusedError
from hybridge.plan.bundle import Bundle
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import Message
from rivals import environment
from tiny_plans import images, pair_plan

NAME = "served"


@pytest.mark.skipif(not environment.has("tritonclient"), reason="tritonclient is not installed")
def test_nvidias_client_asks_our_server(tmp_path):
    program = pair_plan(tmp_path).programs["global"]
    pixels = images(3)
    np.save(tmp_path / "pixels.npy", pixels)
    with serving(Models({"tiny": [program]})) as target:
        found = environment.triton_client(target, "global", tmp_path / "pixels.npy")
    assert found["live"]
    assert found["ready"]
    assert found["model_ready"]
    assert not found["other_ready"]
    assert found["server"]["name"] == "hybridge"
    assert found["model"]["versions"] == [program.sha256]
    assert found["model"]["inputs"] == [
        {"name": "pixels", "datatype": "UINT8", "shape": ["-1", "4", "4", "3"]}
    ]
    assert found["id"] == "7"
    assert found["refusal"] == "StatusCode.NOT_FOUND"
    said = ProgramSession(program).run({"pixels": pixels})["logits"]
    np.testing.assert_allclose(found["outputs"]["logits"], said, rtol=1e-5)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory):
    plan = pair_plan(tmp_path_factory.mktemp("hosted"), threshold=-math.inf)
    with environment.kserve(plan.programs["global"].path, NAME) as target:
        yield plan, target


@pytest.mark.slow
@pytest.mark.skipif(not environment.has("kserve"), reason="kserve is not installed")
class TestKServe:
    def test_our_edge_is_answered(self, hosted):
        plan, target = hosted
        transport = GrpcTransport(target, 5000.0, names={"global": NAME}, version="1")
        pixels = images(20)
        with EdgeRuntime(Bundle(plan), transport) as runtime:
            answers = runtime.predict_batch(list(pixels))
        assert [answer.source for answer in answers] == ["cloud"] * 20
        logits = ProgramSession(plan.programs["global"]).run({"pixels": pixels})["logits"]
        assert [answer.label for answer in answers] == logits.argmax(1).tolist()

    def test_a_name_that_it_does_not_know_is_no_silence(self, hosted):
        plan, target = hosted
        sha256 = plan.programs["global"].sha256
        with GrpcTransport(target, 5000.0) as transport, pytest.raises(RefusedError):
            transport.send(Message("global", sha256, {}))
