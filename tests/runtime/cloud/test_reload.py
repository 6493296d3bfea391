"""Bundles are changed under a service that goes on answering."""

import asyncio
import logging

import numpy as np
import pytest

from hybridge.codecs.codec import codec_named
from hybridge.errors import BundleError
from hybridge.runtime.cloud import reload
from hybridge.runtime.cloud.models import Models, OtherVersionError, UnservedError
from hybridge.runtime.cloud.reload import Reloader, stamp
from hybridge.runtime.cloud.service import CloudService
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import Message
from tiny_plans import LOGITS, PIXELS, images, write_program


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return write_program(tmp_path_factory.mktemp("old"), "global", PIXELS, (LOGITS,), seed=2)


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return write_program(tmp_path_factory.mktemp("new"), "global", PIXELS, (LOGITS,), seed=9)


def asked(program, sha256=None):
    tensors = {"pixels": codec_named("raw").encode(images(1))}
    return Message("global", program.sha256 if sha256 is None else sha256, tensors)


def logits(program):
    return ProgramSession(program).run({"pixels": images(1)})["logits"]


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 20))


class Disk:
    """What a reload finds."""

    def __init__(self, programs):
        self.programs = programs
        self.error = None

    def load(self, loaded=None):
        if self.error is not None:
            raise self.error
        return Models({"pets": self.programs}, loaded=loaded)


def test_both_versions_are_served_for_a_while_and_then_the_new_one(old, new):
    async def scenario():
        disk = Disk([old])
        service = CloudService(disk.load())
        reloader = Reloader(service, disk.load, keep_old_s=0.2)
        disk.programs = [new]
        assert await reloader.reload()
        for message, program in [
            (asked(old), old),
            (asked(new), new),
            (asked(new, ""), new),
        ]:
            reply = await service.infer(message)
            np.testing.assert_allclose(reply.tensors["logits"], logits(program), rtol=1e-4)
        await asyncio.sleep(0.4)
        with pytest.raises(OtherVersionError, match=new.sha256):
            await service.infer(asked(old))
        await service.infer(asked(new))
        await reloader.close()
        await service.close()

    run(scenario())


def test_what_the_old_version_has_taken_is_answered(old, new, monkeypatch):
    import threading

    gate, begun = threading.Event(), threading.Event()

    class Slow(ProgramSession):
        def run(self, tensors):
            begun.set()
            assert gate.wait(10)
            return super().run(tensors)

    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", Slow)

    async def scenario():
        disk = Disk([old])
        service = CloudService(disk.load())
        reloader = Reloader(service, disk.load, keep_old_s=0.0)
        taken = [asyncio.create_task(service.infer(asked(old))) for _ in range(3)]
        await asyncio.to_thread(begun.wait, 10)
        disk.programs = [new]
        await reloader.reload()
        await asyncio.sleep(0.05)
        with pytest.raises(OtherVersionError):
            await service.infer(asked(old))
        gate.set()
        replies = await asyncio.gather(*taken)
        await reloader.close()
        await service.close()
        return replies

    for reply in run(scenario()):
        np.testing.assert_allclose(reply.tensors["logits"], logits(old), rtol=1e-4)


def test_a_damaged_bundle_leaves_the_old_one_serving_and_says_why(old, new, caplog):
    async def scenario(error):
        disk = Disk([old])
        service = CloudService(disk.load())
        reloader = Reloader(service, disk.load, keep_old_s=0.0)
        disk.error = error
        assert not await reloader.reload()
        await service.infer(asked(old))
        disk.error, disk.programs = None, [new]
        assert await reloader.reload()
        await service.infer(asked(new))
        await reloader.close()
        await service.close()

    for error in (BundleError("global.onnx is damaged"), OSError("gone"), ValueError("odd")):
        caplog.clear()
        run(scenario(error))
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert str(error) in caplog.text


def test_what_is_the_same_is_neither_loaded_again_nor_told_of(old, caplog):
    async def scenario():
        disk = Disk([old])
        service = CloudService(disk.load())
        before = service.models
        reloader = Reloader(service, disk.load, keep_old_s=0.0)
        assert await reloader.reload()
        assert service.models is before
        await reloader.close()
        await service.close()

    with caplog.at_level(logging.INFO):
        run(scenario())
    assert caplog.text == ""


def test_a_program_that_is_kept_keeps_its_session(old, new):
    first = Models({"pets": [old]})
    second = Models({"pets": [old, new]}, loaded=first)
    assert second.find("global", old.sha256) is first.find("global")


def test_a_program_that_is_gone_is_found_by_its_version_alone(old, tmp_path):
    other = write_program(tmp_path, "other", PIXELS, (LOGITS,), seed=4)

    async def scenario():
        service = CloudService(Models({"pets": [old]}))
        service.swap(Models({"pets": [other]}))
        await service.infer(asked(old))
        with pytest.raises(UnservedError, match="'global'"):
            await service.infer(asked(old, ""))
        await service.close()

    run(scenario())


def test_watched_files_are_read_once_they_have_come_to_rest(old, new, tmp_path, monkeypatch):
    monkeypatch.setattr(reload, "LOOK_EVERY_S", 0.03)
    loads = []

    async def scenario():
        disk = Disk([old])
        service = CloudService(disk.load())

        def load(loaded):
            loads.append(stamp([tmp_path]))
            return disk.load(loaded)

        reloader = Reloader(service, load, keep_old_s=60)
        reloader.watch_soon([tmp_path])
        await asyncio.sleep(0.15)
        assert loads == [()]
        disk.programs = [new]
        for name in ("manifest.json", "global.onnx"):
            (tmp_path / name).write_text(name)
        async with asyncio.timeout(5):
            while service.models.find("global").program is not new:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.15)
        await reloader.close()
        await service.close()

    run(scenario())
    assert loads == [(), stamp([tmp_path])]


def test_what_changed_before_the_watch_began_is_noticed(old, new, tmp_path):
    async def scenario():
        disk = Disk([old])
        service = CloudService(disk.load())
        disk.programs = [new]
        reloader = Reloader(service, disk.load, keep_old_s=60)
        reloader.watch_soon([tmp_path])
        async with asyncio.timeout(5):
            while service.models.find("global").program is not new:
                await asyncio.sleep(0.01)
        await reloader.close()
        await service.close()

    run(scenario())
