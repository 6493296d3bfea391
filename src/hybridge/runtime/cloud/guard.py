"""The guard at the door: a request without a token that is known goes no further."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from hybridge.runtime.cloud import health
from hybridge.runtime.wire import oip
from hybridge.runtime.wire.tokens import AUTHORIZATION, Tokens

#: What whoever watches over the server may ask without a token: whether it lives.
OPEN = frozenset(
    {f"/{oip.SERVICE}/ServerLive", f"/{oip.SERVICE}/ServerReady", f"/{health.SERVICE}/Check"}
)

#: One text for every fault of a token, so that nothing can be learnt from it.
_REFUSAL = "expected a header 'authorization: Bearer TOKEN' with a token that this server knows"


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # gRPC has no types
    """Refuses calls without a token with ``UNAUTHENTICATED``, before their message is read.

    Of a call that is open without one the message is not read either: it need not say anything,
    and might be long.

    Args:
        tokens: Those that are taken; may be replaced while it stands.
        refused: Told of every call that it refuses.
    """

    def __init__(self, tokens: Tokens, refused: Callable[[], None]) -> None:
        self.tokens = tokens
        self._refused = refused

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        handler_call_details: Any,
    ) -> Any:
        """Return the handler of a call, or one that refuses it."""
        if self._knows(handler_call_details):
            return await continuation(handler_call_details)
        if handler_call_details.method in OPEN:
            return _unread(await continuation(handler_call_details))
        self._refused()
        return _REFUSING

    def _knows(self, call: Any) -> bool:
        headers = [value for name, value in call.invocation_metadata if name == AUTHORIZATION]
        return len(headers) == 1 and self.tokens.accepts(str(headers[0]))


async def _refuse(messages: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, _REFUSAL)


def _unread(handler: Any) -> Any:
    """Return a handler that answers as another does an empty message, and receives none."""

    async def answer(messages: Any, context: Any) -> None:
        await context.write(await handler.unary_unary(b"", context))

    return grpc.stream_stream_rpc_method_handler(answer)


# A handler of streams is called before any message is received, one of single messages after.
_REFUSING = grpc.stream_stream_rpc_method_handler(_refuse)
