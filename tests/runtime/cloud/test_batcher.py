import asyncio
import threading
import time

import numpy as np
import pytest

from hybridge.errors import BundleError, ConfigError
from hybridge.runtime.cloud.admission import ExpiredError
from hybridge.runtime.cloud.batcher import Batcher, Batching, DrainingError


class Model:
    """Doubles its input, one batch each time it is let; notes the sizes of batches."""

    def __init__(self, held=False):
        self.sizes = []
        self.gate = threading.Event()
        self.begun = threading.Event()
        if not held:
            self.gate.set()

    def __call__(self, tensors):
        self.begun.set()
        assert self.gate.wait(10)
        self.sizes.append(len(tensors["x"]))
        return {"y": tensors["x"] * 2}


def rows(*values):
    return {"x": np.array(values, np.float32)}


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 20))


async def begun(model):
    await asyncio.to_thread(model.begun.wait, 10)


def test_each_request_gets_its_own_rows():
    async def scenario():
        batcher = Batcher(Model(), Batching(max_batch=8))
        answers = await asyncio.gather(*(batcher.submit(rows(i, i + 0.5)) for i in range(20)))
        await batcher.close()
        return answers

    for i, answer in enumerate(run(scenario())):
        np.testing.assert_array_equal(answer.outputs["y"], [2 * i, 2 * i + 1])


def test_what_comes_while_the_model_is_busy_is_run_together():
    model = Model(held=True)

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=4))
        first = asyncio.create_task(batcher.submit(rows(0)))
        await begun(model)
        rest = [asyncio.create_task(batcher.submit(rows(i))) for i in range(10)]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *rest)
        await batcher.close()

    run(scenario())
    assert model.sizes == [1, 4, 4, 2]


def test_an_idle_model_waits_for_more():
    model = Model()

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=3, max_wait_ms=10_000))
        early = asyncio.create_task(batcher.submit(rows(0)))
        await asyncio.sleep(0.01)
        late = [batcher.submit(rows(1)), batcher.submit(rows(2))]
        await asyncio.gather(early, *late)
        await batcher.close()

    began_s = time.perf_counter()
    run(scenario())
    assert model.sizes == [3]
    assert time.perf_counter() - began_s < 5


def test_waiting_for_more_ends():
    model = Model()

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=3, max_wait_ms=5))
        await batcher.submit(rows(0))
        await batcher.close()

    run(scenario())
    assert model.sizes == [1]


def test_a_long_request_is_computed_in_parts():
    model = Model()

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=4))
        answer = await batcher.submit(rows(*range(10)))
        await batcher.close()
        return answer

    np.testing.assert_array_equal(run(scenario()).outputs["y"], np.arange(10) * 2)
    assert model.sizes == [4, 4, 2]


def test_what_expires_in_the_queue_is_not_computed():
    model = Model(held=True)

    async def scenario():
        batcher = Batcher(model, Batching())
        first = asyncio.create_task(batcher.submit(rows(0)))
        await begun(model)
        late = asyncio.create_task(batcher.submit(rows(1), time.perf_counter() + 0.001))
        patient = asyncio.create_task(batcher.submit(rows(2), time.perf_counter() + 60))
        await asyncio.sleep(0.01)
        model.gate.set()
        results = await asyncio.gather(first, late, patient, return_exceptions=True)
        await batcher.close()
        return results

    _, late, patient = run(scenario())
    assert isinstance(late, ExpiredError)
    assert patient.outputs["y"] == [4]
    assert model.sizes == [1, 1]


def test_what_its_client_has_left_is_not_computed():
    model = Model(held=True)

    async def scenario():
        batcher = Batcher(model, Batching())
        first = asyncio.create_task(batcher.submit(rows(0)))
        await begun(model)
        gone = asyncio.create_task(batcher.submit(rows(1, 2, 3)))
        await asyncio.sleep(0)
        gone.cancel()
        model.gate.set()
        await first
        await batcher.close()

    run(scenario())
    assert model.sizes == [1]


def test_a_failing_model_fails_its_requests_and_no_others():
    def run_model(tensors):
        if (tensors["x"] < 0).any():
            raise BundleError("cannot")
        return {"y": tensors["x"]}

    async def scenario():
        batcher = Batcher(run_model, Batching())
        with pytest.raises(BundleError, match="cannot"):
            await batcher.submit(rows(-1))
        answer = await batcher.submit(rows(1))
        await batcher.close()
        return answer

    assert run(scenario()).outputs["y"] == [1]


def test_outputs_without_a_batch_axis_are_refused():
    async def scenario():
        batcher = Batcher(lambda tensors: {"y": np.zeros(7)}, Batching())
        with pytest.raises(BundleError, match="'y'"):
            await batcher.submit(rows(1, 2))
        await batcher.close()

    run(scenario())


def test_closing_finishes_what_is_queued_and_takes_no_more():
    model = Model(held=True)

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=2, max_wait_ms=0))
        queued = [asyncio.create_task(batcher.submit(rows(i))) for i in range(5)]
        await begun(model)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(DrainingError):
            await batcher.submit(rows(9))
        model.gate.set()
        await closing
        return await asyncio.gather(*queued)

    assert [float(answer.outputs["y"][0]) for answer in run(scenario())] == [0, 2, 4, 6, 8]


def test_the_event_loop_is_free_while_a_model_computes():
    model = Model(held=True)

    async def scenario():
        batcher = Batcher(model, Batching())
        answer = asyncio.create_task(batcher.submit(rows(1)))
        await begun(model)
        turns = 0
        while turns < 100:
            await asyncio.sleep(0)
            turns += 1
        assert not answer.done()
        model.gate.set()
        await answer
        await batcher.close()

    run(scenario())


@pytest.mark.parametrize(
    "arguments", [{"max_batch": 0}, {"max_wait_ms": -1}, {"max_wait_ms": float("inf")}]
)
def test_impossible_batching_is_refused(arguments):
    with pytest.raises(ConfigError, match="max_batch"):
        Batching(**arguments)


def test_a_request_that_fails_does_not_fail_its_neighbours():
    class Picky(Model):
        def __call__(self, tensors):
            doubled = super().__call__(tensors)
            if 2 in tensors["x"]:
                raise BundleError("no twos")
            return doubled

    model = Picky(held=True)

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=8))
        requests = [asyncio.create_task(batcher.submit(rows(i))) for i in range(4)]
        await begun(model)
        model.gate.set()
        answers = await asyncio.gather(*requests, return_exceptions=True)
        await batcher.close()
        return answers

    answers = run(scenario())
    assert isinstance(answers.pop(2), BundleError)
    assert [answer.outputs["y"].tolist() for answer in answers] == [[0], [2], [6]]


class Paced(Model):
    """Takes ten milliseconds a batch."""

    def __call__(self, tensors):
        time.sleep(0.01)
        return super().__call__(tensors)


def test_a_long_request_stops_once_its_time_is_spent():
    model = Paced()

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=1))
        expires_at_s = time.perf_counter() + 0.05
        with pytest.raises(ExpiredError, match="of its 500 rows"):
            await batcher.submit(rows(*range(500)), expires_at_s)
        await batcher.close()

    run(scenario())
    assert 1 <= len(model.sizes) <= 6


def test_a_long_request_stops_once_its_client_has_gone():
    model = Paced()

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=1))
        gone = asyncio.create_task(batcher.submit(rows(*range(500))))
        await begun(model)
        gone.cancel()
        began_s = time.perf_counter()
        answer = await batcher.submit(rows(7))
        await batcher.close()
        return answer, time.perf_counter() - began_s

    answer, took_s = run(scenario())
    assert answer.outputs["y"] == [14]
    assert took_s < 2
    assert len(model.sizes) < 100


def test_how_long_a_batch_takes_is_learnt_from_what_was_stopped():
    async def scenario():
        batcher = Batcher(Paced(), Batching(max_batch=1))
        expires_at_s = time.perf_counter() + 0.05
        with batcher.admission.place(500, expires_at_s), pytest.raises(ExpiredError):
            await batcher.submit(rows(*range(500)), expires_at_s)
        with pytest.raises(ExpiredError, match="are left"):
            batcher.admission.place(500, time.perf_counter() + 1).__enter__()
        await batcher.close()

    run(scenario())


def test_what_has_arrived_is_run_together_although_the_model_is_idle():
    model = Model()

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=8))

        async def read_then_submit(turns):
            for _ in range(turns):
                await asyncio.sleep(0)
            return await batcher.submit(rows(turns))

        await asyncio.gather(*(read_then_submit(2 * turns) for turns in range(6)))
        await batcher.close()

    run(scenario())
    assert model.sizes == [6]


def test_a_full_batch_is_computed_although_the_event_loop_is_busy():
    model = Model(held=True)

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=2))
        first = asyncio.create_task(batcher.submit(rows(0)))
        await begun(model)
        rest = [asyncio.create_task(batcher.submit(rows(i))) for i in (1, 2)]
        await asyncio.sleep(0)
        model.gate.set()
        ends_s = time.perf_counter() + 10
        while len(model.sizes) < 2 and time.perf_counter() < ends_s:
            time.sleep(0.001)  # the loop stands still
        assert model.sizes == [1, 2]
        await asyncio.gather(first, *rest)
        await batcher.close()

    run(scenario())


@pytest.mark.parametrize("gone", [True, False])
def test_what_is_awaited_no_more_in_a_full_batch_is_not_computed(gone):
    model = Model(held=True)

    async def scenario():
        batcher = Batcher(model, Batching(max_batch=4))
        first = asyncio.create_task(batcher.submit(rows(0)))
        await begun(model)
        expires_at_s = None if gone else time.perf_counter() + 0.001
        left = asyncio.create_task(batcher.submit(rows(1, 2), expires_at_s))
        kept = asyncio.create_task(batcher.submit(rows(3, 4)))
        await asyncio.sleep(0.01)
        if gone:
            left.cancel()
        model.gate.set()
        answers = await asyncio.gather(first, left, kept, return_exceptions=True)
        await batcher.close()
        return answers

    _, left, kept = run(scenario())
    assert isinstance(left, asyncio.CancelledError if gone else ExpiredError)
    assert kept.outputs["y"].tolist() == [6, 8]
    assert model.sizes == [1, 2]
