"""KServe's Python server: ``python on_kserve.py FILE PORT``, over the Open Inference Protocol.

It has no batching of its own (in a cluster, a proxy beside it may batch), so every request is run
by itself: on one thread beside the event loop. Its line of log for every request is left out.
"""

import asyncio
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# KServe reads the command line when it is imported.
_PATH, _PORT = sys.argv[1:]
sys.argv[1:] = ["--configure_logging", "false"]

import kserve  # noqa: E402
from graph import Graph  # noqa: E402
from kserve import InferOutput, InferRequest, InferResponse  # noqa: E402

OUTPUT = "logits"


class Served(kserve.Model):
    """A graph under the name of its file."""

    def __init__(self, path: str) -> None:
        super().__init__(os.path.splitext(os.path.basename(path))[0])
        self._graph = Graph(path)
        self._worker = ThreadPoolExecutor(1)
        self.ready = True

    async def predict(self, payload: InferRequest, headers: Any = None, extra: Any = None) -> Any:
        """Answer one request."""
        rows = payload.inputs[0].as_numpy()
        loop = asyncio.get_running_loop()
        logits = await loop.run_in_executor(self._worker, self._graph.run, rows)
        output = InferOutput(OUTPUT, list(logits.shape), "FP32")
        output.set_data_from_numpy(logits, binary_data=True)
        return InferResponse(payload.id, self.name, [output])


def main() -> None:
    logging.getLogger("kserve").setLevel(logging.ERROR)
    server = kserve.ModelServer(
        http_port=0, grpc_port=int(_PORT), workers=1, enable_latency_logging=False
    )
    server.start([Served(_PATH)])


if __name__ == "__main__":
    main()
