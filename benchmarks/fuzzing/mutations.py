"""Bytes from other bytes: changes at random, and changes that leave JSON what it is."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_NUMBERS = (0, 1, -1, 127, 128, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, -(2**63))
_VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, "", "raw", "\0", "../..", "x" * 1000, 1e308, -0.0, 10**400),
    *_NUMBERS,
)


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return ``data`` with one to eight changes; its first byte, which says what it is, stays."""
    head, body = data[:1], bytearray(data[1:])
    for of_format in (_mutated_json, _mutated_header):
        if rng.random() < 0.6 and (changed := of_format(bytes(body), rng)) is not None:
            return head + changed
    for _ in range(rng.randint(1, 8)):
        rng.choice(_CHANGES)(body, rng.choice(others)[1:], rng)
    return head + bytes(body)


def _flip(body: bytearray, other: bytes, rng: random.Random) -> None:
    if body:
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)


def _overwrite(body: bytearray, other: bytes, rng: random.Random) -> None:
    size, number = rng.choice((1, 2, 4, 8)), rng.choice(_NUMBERS)
    at = rng.randint(0, len(body))
    body[at : at + size] = (number % 256**size).to_bytes(size, rng.choice(("little", "big")))


def _cut(body: bytearray, other: bytes, rng: random.Random) -> None:
    begin, end = sorted(rng.randint(0, len(body)) for _ in range(2))
    del body[begin : rng.choice((end, len(body)))]


def _splice(body: bytearray, other: bytes, rng: random.Random) -> None:
    begin, end = sorted(rng.randint(0, len(other)) for _ in range(2))
    at = rng.randint(0, len(body))
    body[at:at] = other[begin:end]


def _repeat(body: bytearray, other: bytes, rng: random.Random) -> None:
    begin = rng.randint(0, len(body))
    part = body[begin : begin + rng.randint(1, 16)]
    body[begin:begin] = part * rng.choice((1, 10, 300))


_CHANGES: tuple[Callable[[bytearray, bytes, random.Random], None], ...]
_CHANGES = (_flip, _overwrite, _cut, _splice, _repeat)


def _mutated_json(body: bytes, rng: random.Random) -> bytes | None:
    """Return JSON with some values replaced, removed, doubled or nested; None where it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict | list):
        return None
    for _ in range(rng.randint(1, 3)):
        holders = list(_holders(value))
        if not holders:
            break
        holder, key = rng.choice(holders)
        # JSON within JSON is changed by itself.
        if isinstance(holder[key], str) and (inner := _mutated_json(holder[key].encode(), rng)):
            holder[key] = inner.decode()
            continue
        if isinstance(key, str) and rng.random() < 0.2:
            inner = _mutated_json(key.encode(), rng) or rng.choice((b"", b"x", b"[]"))
            holder[inner.decode()] = holder.pop(key)
            continue
        change = rng.randrange(4)
        if change == 0:
            holder[key] = rng.choice(_VALUES)
        elif change == 1:
            del holder[key]
        elif change == 2:
            other, its_key = rng.choice(holders)
            holder[key] = json.loads(json.dumps(other[its_key])) if its_key in _keys(other) else 0
        else:
            return _nested(value, holder, key, rng.choice((10, 200, 5000)))
    return (json.dumps(value, indent=1, sort_keys=rng.random() < 0.9) + "\n").encode()


def _mutated_header(body: bytes, rng: random.Random) -> bytes | None:
    """Return a safetensors file whose JSON header is mutated; None where it is none."""
    length = int.from_bytes(body[:8], "little")
    header = _mutated_json(body[8 : 8 + length], rng) if 0 < length < len(body) else None
    if header is None:
        return None
    return len(header).to_bytes(8, "little") + header + body[8 + length :]


def _holders(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in _keys(value):
        yield value, key
        yield from _holders(value[key])


def _keys(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def _nested(value: Any, holder: Any, key: Any, depth: int) -> bytes:
    """Return JSON with one value in so many lists: deeper than a parser may go."""
    holder[key] = "HERE"
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    return text.replace('"HERE"', "[" * depth + "]" * depth).encode()
