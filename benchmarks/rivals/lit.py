"""LitServe: ``python lit.py FILE PORT``. A request's body is raw rows, the answer's raw logits.

One worker process, which batches; requests cross to it over ZeroMQ (``fast_queue``), as LitServe's
documentation advises for many of them.
"""

import sys
from typing import Annotated, Any

import litserve
from fastapi import Body, Response
from graph import MAX_BATCH, Array, Graph

Raw = Annotated[bytes, Body(media_type="application/octet-stream")]


class Api(litserve.LitAPI):
    """Batches of requests, each of one or more rows."""

    def __init__(self, path: str) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=0.002)
        self._path = path

    def setup(self, device: str) -> None:
        """Load the graph, in the worker."""
        self._graph = Graph(self._path)

    def decode_request(self, request: Raw) -> Array:
        """Return the rows of a request."""
        return self._graph.rows(request)

    def batch(self, inputs: list[Array]) -> list[Array]:
        """Leave it to the graph which requests run together."""
        return inputs

    def predict(self, x: Any) -> list[Array]:
        """Return the logits of each request."""
        # A batch of one comes as it is.
        return self._graph.run_all(x if isinstance(x, list) else [x])

    def unbatch(self, output: list[Array]) -> list[Array]:
        """Return what is one answer each already."""
        return output

    def encode_response(self, output: Array) -> Response:
        """Return an answer."""
        return Response(output.tobytes(), media_type="application/octet-stream")


def main() -> None:
    path, port = sys.argv[1:]
    server = litserve.LitServer(
        Api(path), accelerator="cpu", workers_per_device=1, timeout=False, fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=int(port),
        num_api_servers=1,
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )


if __name__ == "__main__":
    main()
