"""Ray Serve: ``on_ray.py FILE PORT``. Raw bytes over HTTP, optimised for throughput.

With HAProxy in front of the replica, which Ray ships, and a batch computed beside the replica's
event loop: without either, and with batches that do not wait, it is several times slower here.
"""

import asyncio
import os
import signal
import socket
import sys
import threading

os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
# Else its workers come after everybody else on the machine.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")

import ray
import session
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0.1})
class Contestant:
    """Batches by Ray's own means."""

    def __init__(self, path: str) -> None:
        self.session = session.opened(path)

    @serve.batch(max_batch_size=session.MAX_BATCH, batch_wait_timeout_s=0.002)
    async def predict(self, requests: list[session.Array]) -> list[session.Array]:
        """Return the logits of each request."""
        return await asyncio.to_thread(session.run_together, self.session, requests)

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        logits = await self.predict(session.pixels(await request.body()))
        return Response(logits.tobytes(), media_type="application/octet-stream")


def _own_ports() -> None:
    """Give what watches Ray's proxy ports that no other Ray on this machine holds."""
    for name in ("METRICS", "STATS"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            os.environ.setdefault(f"RAY_SERVE_HAPROXY_{name}_PORT", str(free.getsockname()[1]))


def main() -> None:
    _own_ports()
    stopped = threading.Event()
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
    serve.run(Contestant.options(logging_config={"enable_access_log": False}).bind(sys.argv[1]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
