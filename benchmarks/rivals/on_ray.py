"""Ray Serve: ``python on_ray.py FILE PORT``. A request's body is raw rows, the answer's raw logits.

One replica, which batches, behind the proxy; with ``RAY_SERVE_THROUGHPUT_OPTIMIZED``, as its
documentation advises.
"""

import asyncio
import os
import signal
import sys

os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")

import ray  # it reads its environment when it is imported
from graph import MAX_BATCH, Array, Graph
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Replica:
    """Batches of requests, each of one or more rows."""

    def __init__(self, path: str) -> None:
        self._graph = Graph(path)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.002)
    async def run(self, requests: list[Array]) -> list[Array]:
        """Return the logits of each request."""
        return await asyncio.to_thread(self._graph.run_all, requests)

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        logits = await self.run(self._graph.rows(await request.body()))
        return Response(logits.tobytes(), media_type="application/octet-stream")


def main() -> None:
    path, port = sys.argv[1:]
    here = os.path.dirname(os.path.abspath(__file__))
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        num_cpus=4,
        runtime_env={"env_vars": {"PYTHONPATH": here}},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(
        Replica.bind(path),
        route_prefix="/predict",
        name="graph",
    )
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
