import asyncio
import threading

import pytest

from hybridge.errors import ConfigError, SignatureError, TransportError
from hybridge.plan.bundle import Bundle
from hybridge.plan.variants import edge_only, with_threshold
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.mock import MockTransport
from hybridge.walk.breaker import BreakerSettings
from tiny_plans import images, pair_plan

PATIENT = BreakerSettings(failures=1000)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return pair_plan(tmp_path_factory.mktemp("programs"))


async def each(xs):
    for x in xs:
        yield x


async def collect(runtime, xs, **more):
    return [answer async for answer in runtime.predict_stream(each(xs), **more)]


@pytest.mark.parametrize("in_flight", [1, 3, 100])
def test_a_stream_is_answered_in_order(plan, in_flight):
    runtime = EdgeRuntime(Bundle(edge_only(plan)))
    xs = list(images(10))
    answers = asyncio.run(collect(runtime, xs, in_flight=in_flight))
    expected = [runtime.predict(x).probabilities.tolist() for x in xs]
    assert [answer.probabilities.tolist() for answer in answers] == expected


def test_waiting_for_the_cloud_does_not_hold_up_the_stream(plan):
    # Each call waits until three of them are there: with fewer in flight none would come back.
    together = threading.Barrier(3)

    def reply(message):
        together.wait(timeout=10)
        raise TransportError("away")

    runtime = EdgeRuntime(Bundle(with_threshold(plan, -1e9)), MockTransport(reply), breaker=PATIENT)
    answers = asyncio.run(collect(runtime, list(images(6)), in_flight=3))
    assert [answer.failure for answer in answers] == ["away"] * 6


def test_more_are_in_flight_than_this_machine_has_cores(plan):
    # asyncio's own threads would be six on two cores.
    together = threading.Barrier(24)

    def reply(message):
        together.wait(timeout=10)
        raise TransportError("away")

    with EdgeRuntime(
        Bundle(with_threshold(plan, -1e9)), MockTransport(reply), breaker=PATIENT
    ) as runtime:
        answers = asyncio.run(collect(runtime, list(images(24)), in_flight=24))
    assert [answer.failure for answer in answers] == ["away"] * 24
    assert not [each for each in threading.enumerate() if each.name.startswith("hybridge-edge")]


@pytest.mark.parametrize("in_flight", [0, -1])
def test_a_stream_needs_room(plan, in_flight):
    with pytest.raises(ConfigError, match="in_flight"):
        asyncio.run(collect(EdgeRuntime(Bundle(edge_only(plan))), [], in_flight=in_flight))


def test_a_closed_runtime_streams_no_more(plan):
    runtime = EdgeRuntime(Bundle(edge_only(plan)))
    runtime.close()
    assert runtime.predict(images(1)[0]).label is not None
    with pytest.raises(ConfigError, match="closed"):
        asyncio.run(collect(runtime, list(images(1))))


def test_a_stream_whose_runtime_is_closed_ends_after_what_was_begun(plan):
    runtime = EdgeRuntime(Bundle(edge_only(plan)))
    answers = []

    async def closing():
        for x in images(3):
            yield x
        runtime.close()
        for x in images(3):
            yield x

    async def collect_all():
        async for answer in runtime.predict_stream(closing()):
            answers.append(answer)

    with pytest.raises(ConfigError, match="closed"):
        asyncio.run(collect_all())
    assert len(answers) == 3


def test_an_input_that_does_not_fit_ends_the_stream(plan):
    runtime = EdgeRuntime(Bundle(edge_only(plan)))
    xs = [*images(2), images(2), *images(2)]
    with pytest.raises(SignatureError):
        asyncio.run(collect(runtime, xs, in_flight=2))


def test_a_stream_may_be_left_early(plan):
    runtime = EdgeRuntime(Bundle(edge_only(plan)))

    async def first():
        stream = runtime.predict_stream(each(list(images(9))))
        answer = await anext(stream)
        await stream.aclose()
        return answer

    assert asyncio.run(first()).label is not None


def test_an_answer_comes_before_the_next_input_does(plan):
    runtime = EdgeRuntime(Bundle(edge_only(plan)))

    async def in_turn():
        answered = asyncio.Event()

        async def camera():
            for x in images(3):
                yield x
                await answered.wait()
                answered.clear()

        count = 0
        async for _ in runtime.predict_stream(camera()):
            count += 1
            answered.set()
        return count

    assert asyncio.run(asyncio.wait_for(in_turn(), timeout=10)) == 3


def test_an_error_of_the_source_is_raised_after_its_answers(plan):
    runtime = EdgeRuntime(Bundle(edge_only(plan)))

    async def breaking():
        for x in images(3):
            yield x
        raise OSError("camera unplugged")

    answers = []

    async def collect_all():
        async for answer in runtime.predict_stream(breaking()):
            answers.append(answer)

    with pytest.raises(OSError, match="unplugged"):
        asyncio.run(collect_all())
    assert len(answers) == 3
