"""KServe's Python server: ``on_kserve.py FILE PORT [NAME]``, the model being called NAME or global.

It speaks the Open Inference Protocol over gRPC.

It batches nothing by itself: KServe leaves that to an agent beside it, in a cluster.
"""

import logging
import socket
import sys

import kserve
import session
from kserve import InferOutput, InferRequest, InferResponse, ModelServer


class Contestant(kserve.Model):
    """Computes a request as it comes."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(name)
        self.session = session.opened(path)
        self.ready = True

    async def predict(
        self, payload: InferRequest, headers: object = None, response_headers: object = None
    ) -> InferResponse:
        """Answer a request."""
        rows = payload.inputs[0].as_numpy()
        logits = session.run_together(self.session, [rows])[0]
        output = InferOutput("logits", list(logits.shape), "FP32")
        output.set_data_from_numpy(logits, binary_data=True)
        return InferResponse(payload.id, self.name, [output])


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        http_port = free.getsockname()[1]
    server = ModelServer(
        http_port=http_port,
        grpc_port=int(sys.argv[2]),
        workers=1,
        enable_latency_logging=False,
    )
    # It would write a line for every request.
    logging.getLogger("kserve").setLevel(logging.WARNING)
    server.start([Contestant(sys.argv[1], *sys.argv[3:] or ["global"])])


if __name__ == "__main__":
    main()
