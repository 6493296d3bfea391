"""What is fuzzed: the wire, as either end reads it, and bundles."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hybridge.codecs.codec import codec_named, decode
from hybridge.errors import DataError, HybridgeError
from hybridge.hashing import hash_bytes
from hybridge.plan.bundle import load_bundle, save_bundle
from hybridge.plan.manifest import MANIFEST
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire.message import Message
from tiny_plans import LOGITS, images, pair_plan, pair_rehearsal

#: Most bytes that a tensor may decode to.
LIMIT_BYTES = 1 << 20
_PIXELS = TensorSpec(name="pixels", dtype="uint8", shape=(4, 4, 3))
_FEATURES = TensorSpec(name="features", dtype="float32", shape=(32,))


class Wire:
    """Requests and replies; the first byte says which of the two an input is."""

    def __init__(self) -> None:
        self._programs = [_program(_PIXELS), _program(_FEATURES), _program(_PIXELS, _FEATURES)]
        self.seeds = [b"\0" + data for data in _requests()] + [b"\1" + _response()]

    def run(self, data: bytes) -> None:
        """Read ``data`` as the cloud does, or the edge."""
        if data[:1] == b"\1":
            oip.from_response(oip.parse(pb.ModelInferResponse, data[1:]))
            return
        request = oip.parse(pb.ModelInferRequest, data[1:])
        for program in self._programs:
            try:
                message = oip.from_request(request, program)
                for encoded in message.tensors.values():
                    decode(encoded, LIMIT_BYTES)
            except HybridgeError:
                continue


class Bundles:
    """Files of a bundle: an input is a file's number, 128 more if its manifest agrees, and it."""

    def __init__(self, folder: Path) -> None:
        plan = pair_plan(folder)
        whole = save_bundle(plan, folder / "whole", pair_rehearsal(plan, [0.0, 1.0, 2.0]))
        assert whole.path is not None
        self._root = whole.path
        paths = (path for path in self._root.rglob("*") if path.is_file())
        self._names = sorted(path.relative_to(self._root).as_posix() for path in paths)
        self._content = {name: (self._root / name).read_bytes() for name in self._names}
        self.seeds = [
            bytes([number | agreed]) + self._content[name]
            for number, name in enumerate(self._names)
            for agreed in (0, 128)
        ]

    def run(self, data: bytes) -> None:
        """Load the bundle with one file replaced, and put that file back."""
        if not data:
            raise DataError("expected a file's number, got nothing")
        name = self._names[(data[0] & 127) % len(self._names)]
        content = self._content[name]
        try:
            (self._root / name).write_bytes(data[1:])
            if data[0] & 128 and name != MANIFEST:
                self._describe(name, data[1:])
            load_bundle(self._root)
        finally:
            (self._root / name).write_bytes(content)
            (self._root / MANIFEST).write_bytes(self._content[MANIFEST])

    def _describe(self, name: str, content: bytes) -> None:
        """Make the manifest agree, as somebody who knows the format would."""
        manifest = json.loads(self._content[MANIFEST])
        manifest["files"][name] = {"sha256": hash_bytes(content), "size_bytes": len(content)}
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        (self._root / MANIFEST).write_text(text)


def _program(*inputs: TensorSpec) -> Program:
    return Program(name="p", sha256="a" * 64, size_bytes=1, inputs=inputs, outputs=(LOGITS,))


def _requests() -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    features = rng.random((2, 32), np.float32)
    tensors = [("pixels", images(2), name) for name in ("raw", "webp", "webp-80", "jpeg-90")]
    tensors += [("features", features, name) for name in ("raw", "fp16", "int8-zstd")]
    for name, array, codec in tensors:
        encoded = {name: codec_named(codec).encode(array)}
        yield oip.to_request(Message("p", "a" * 64, encoded, 12.5)).SerializeToString()
    typed = pb.ModelInferRequest(model_name="p")
    tensor = typed.inputs.add(name="features", datatype="FP32", shape=[2, 32])
    tensor.contents.fp32_contents.extend(features.ravel().tolist())
    yield typed.SerializeToString()


def _response() -> bytes:
    outputs = {"logits": np.eye(3, dtype=np.float32)}
    reply = oip.to_response(outputs, program="p", sha256="a" * 64, id_="1", cloud_ms=2.5)
    data: bytes = reply.SerializeToString()
    return data
