"""More requests at once than can be served: each is answered or told so, none is lost."""

import asyncio
import signal

import grpc.aio
import numpy as np
import pytest
from crowd import Crowd, peak_mib, slow_server

from hybridge.runtime.wire import oip_pb2 as pb
from tiny_plans import images, pair_programs


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return pair_programs(tmp_path_factory.mktemp("programs"))["global"]


@pytest.fixture(scope="module")
def crowd(program):
    return Crowd(program, images(32))


def assert_told_at_once(tally):
    """Refusals came without waiting for the turn of what was answered, nine of ten of them."""
    assert np.quantile(tally.told_ms, 0.9) < np.median(tally.answered_ms)


def test_a_crowd_is_answered_or_refused(program, crowd):
    with slow_server(program, batch_s=0.2, max_batch=8, max_waiting=64) as (target, _):
        asyncio.run(crowd.ask(target, 8))  # so that it knows how long batches take
        tally = asyncio.run(crowd.ask(target, 400))
    assert tally.wrong == 0
    assert tally.answers >= 64
    assert tally.statuses == {"RESOURCE_EXHAUSTED": 400 - tally.answers}
    assert len(tally.retry_after_ms) == 400 - tally.answers
    # 64 rows in batches of 8 take 1.6 s, or more on a busy machine.
    assert 1000 < max(tally.retry_after_ms) < 20_000
    assert_told_at_once(tally)


def test_before_it_knows_how_long_batches_take_it_says_to_wait_all_the_same(program, crowd):
    with slow_server(program, batch_s=2, max_batch=8, max_waiting=8) as (target, _):
        tally = asyncio.run(crowd.ask(target, 40))
    assert set(tally.retry_after_ms) == {100}


def test_what_cannot_be_in_time_is_refused_at_once(program, crowd):
    with slow_server(program, batch_s=0.4, max_batch=8) as (target, _):
        asyncio.run(crowd.ask(target, 8))  # so that it knows how long batches take
        tally = asyncio.run(crowd.ask(target, 200, left_ms=1000.0))
    assert tally.wrong == 0
    assert tally.answers > 0
    assert set(tally.statuses) <= {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    assert tally.answers + sum(tally.statuses.values()) == 200
    # Those that it took and could not answer in time after all are few.
    assert tally.statuses["RESOURCE_EXHAUSTED"] > 3 * tally.statuses.get("DEADLINE_EXCEEDED", 0)
    assert_told_at_once(tally)
    # Who is late all the same is so by less than a batch.
    assert np.quantile(tally.late_ms, 0.9) < 400


def test_told_to_stop_it_answers_all_that_it_took(program, crowd):
    async def scenario():
        asking = asyncio.create_task(crowd.ask(target, 200))
        await asyncio.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        return await asking

    with slow_server(program, batch_s=0.05, max_batch=8) as (target, process):
        tally = asyncio.run(scenario())
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    assert tally.wrong == 0
    assert tally.answers >= 16
    assert tally.statuses in ({}, {"UNAVAILABLE": 200 - tally.answers})


def test_while_it_drains_it_is_not_ready(program, crowd):
    async def scenario():
        asking = asyncio.create_task(crowd.ask(target, 4))
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        async with grpc.aio.insecure_channel(target) as channel:
            ready = await channel.unary_unary("/inference.GRPCInferenceService/ServerReady")(b"")
            health = await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        return await asking, await crowd.ask(target, 3), ready, health

    with slow_server(program, batch_s=1.5) as (target, process):
        taken, late, ready, health = asyncio.run(scenario())
        assert process.wait(20) == 0
    assert taken.answers == 4
    assert late.statuses == {"UNAVAILABLE": 3}
    assert not pb.ServerReadyResponse.FromString(ready).ready
    assert health == b"\x08\x02"  # NOT_SERVING


@pytest.mark.slow
def test_ten_thousand_at_once(program, crowd):
    nobodys = Crowd(program, images(32), name="nobody's")
    with slow_server(program, batch_s=0.2, max_batch=32, max_waiting=256) as (target, process):
        asyncio.run(crowd.ask(target, 256))
        before_mib = peak_mib(process)
        refused = asyncio.run(nobodys.ask(target, 10_000, channels=16))
        tally = asyncio.run(crowd.ask(target, 10_000, channels=16, left_ms=1000.0))
        grown_mib = peak_mib(process) - before_mib
        after = asyncio.run(crowd.ask(target, 64))
    assert tally.wrong == 0
    assert tally.answers >= 256
    assert set(tally.statuses) <= {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    assert tally.answers + sum(tally.statuses.values()) == 10_000
    # Whatever is read before it is refused is told when to ask again: a second ahead at most,
    # or a few on a busy machine.
    assert len(tally.retry_after_ms) == tally.statuses["RESOURCE_EXHAUSTED"] - tally.unread
    assert max(tally.retry_after_ms) < 10_000
    # To be told takes not much longer than where there is nothing to think about: so many calls,
    # from one process, take their time.
    assert refused.statuses["NOT_FOUND"] == 10_000 - refused.unread
    assert np.median(tally.told_ms) < 5 * np.median(refused.told_ms)
    assert np.quantile(tally.late_ms, 0.95) < 200  # a batch
    assert grown_mib < 200
    assert (after.answers, after.wrong) == (64, 0)
