"""What a request is made of, seen before it is parsed.

Protobuf parses a message as a whole, and holds the caller up meanwhile: typed contents take it
twenty times as long as raw ones, and eight times their memory. The lengths of a message's fields
tell which it has.
"""

from hybridge.errors import DataError

#: Most bytes of a request's inputs: names, shapes and typed contents. Raw contents are apart.
MAX_INPUTS_BYTES = 4 << 20
#: Most fields of a request that is longer than that.
MAX_FIELDS = 1024

_INPUTS = 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def check_inputs(data: bytes) -> None:
    """Raise `DataError` where a serialised request's inputs are too long to be parsed.

    Whether it is a request at all is for the parser to say.
    """
    if len(data) <= MAX_INPUTS_BYTES:
        return
    at, inputs_bytes = 0, 0
    for _ in range(MAX_FIELDS):
        if at >= len(data):
            return
        begin = at
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _BYTES:
            length, at = _varint(data, at)
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise DataError(f"expected a request, got a field of kind {kind}, which none has")
        if tag >> 3 == _INPUTS:
            inputs_bytes += at - begin
            if inputs_bytes > MAX_INPUTS_BYTES:
                raise DataError(
                    f"expected inputs of at most {MAX_INPUTS_BYTES >> 20} MiB without their raw "
                    "contents; send what is longer in the raw contents"
                )
    if at < len(data):
        raise DataError(f"expected a long request to have at most {MAX_FIELDS} fields, got more")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and where what follows it begins."""
    value = 0
    for turn, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * turn)
        if byte < 0x80:
            return value, at + turn + 1
    raise DataError(f"expected a request, got {len(data)} bytes that are none")
