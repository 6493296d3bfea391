"""LitServe: ``lit.py FILE PORT``. Raw bytes in and out, since its JSON would cost more."""

import sys
from typing import Annotated, Any

import litserve
import session
from fastapi import Body, Response


class Contestant(litserve.LitAPI):
    """Batches what has come while the batch before was computed."""

    def setup(self, device: str) -> None:
        """Open the session."""
        self.session = session.opened(sys.argv[1])

    def decode_request(
        self, request: Annotated[bytes, Body(media_type="application/octet-stream")]
    ) -> session.Array:
        """Return the rows of a request."""
        return session.pixels(request)

    def batch(self, inputs: list[session.Array]) -> list[session.Array]:
        """Return the requests of a batch as they are."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Return the logits of each request."""
        return session.run_together(self.session, x)

    def unbatch(self, output: list[session.Array]) -> list[session.Array]:
        """Return the answers as they are."""
        return output

    def encode_response(self, output: session.Array) -> Response:
        """Return an answer as bytes."""
        return Response(output.tobytes(), media_type="application/octet-stream")


def main() -> None:
    api = Contestant(max_batch_size=session.MAX_BATCH, batch_timeout=0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )


if __name__ == "__main__":
    main()
