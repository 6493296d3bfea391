"""Our server, as ``hybridge serve`` runs it: ``ours.py FILE PORT``."""

import sys
from pathlib import Path

import session

from hybridge.hashing import hash_file
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.serve import serve


def main() -> None:
    path, port = Path(sys.argv[1]), int(sys.argv[2])
    program = Program(
        name="global",
        sha256=hash_file(path),
        size_bytes=path.stat().st_size,
        path=path,
        inputs=(TensorSpec(name="pixels", dtype="uint8", shape=session.SHAPE),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=(10,)),),
    )
    serve(Models({"contest": [program]}), port=port, batching=Batching(session.MAX_BATCH))


if __name__ == "__main__":
    main()
