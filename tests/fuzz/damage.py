"""Ways to damage a file: blind ones for any bytes, and some that keep a container's checksums valid."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Damage = Callable[[np.random.Generator, bytes], bytes]

_LIES = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
_TEXTS = (b"0", b"-1", b"99999999999999999999", b"1e999", b"2147483648", b"3.5", b"")


def blindly(rng: np.random.Generator, data: bytes, others: Sequence[bytes] = (b"",)) -> bytes:
    """One to three changes that know nothing of the format; ``others`` are files to splice with."""
    for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))):
        if rng.random() < 0.1:
            other = others[int(rng.integers(len(others)))]
            data = data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]
        else:
            data = _BLIND[rng.integers(len(_BLIND))](rng, data)
    return data


def _span(rng: np.random.Generator, data: bytes) -> tuple[int, int]:
    """Begin and end of a piece, mostly short."""
    start = int(rng.integers(len(data) + 1))
    length = int(rng.choice([1, 4, 16, 200, len(data)]))
    return start, min(len(data), start + int(rng.integers(length + 1)))


def _flip(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)) if data else ():
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: rng.integers(len(data) + 1)]


def _append(rng: np.random.Generator, data: bytes) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 100)))


def _remove(rng: np.random.Generator, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _repeat(rng: np.random.Generator, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:]


def _move(rng: np.random.Generator, data: bytes) -> bytes:
    start, end = _span(rng, data)
    rest = data[:start] + data[end:]
    place = int(rng.integers(len(rest) + 1))
    return rest[:place] + data[start:end] + rest[place:]


def _blank(rng: np.random.Generator, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + bytes([int(rng.choice([0, 255]))]) * (end - start) + data[end:]


def _lie(rng: np.random.Generator, data: bytes) -> bytes:
    """Another number where one may stand."""
    width = int(rng.choice([1, 2, 4, 8]))
    if len(data) < width:
        return data
    place = int(rng.integers(len(data) - width + 1))
    number = _LIES[rng.integers(len(_LIES))] & (2 ** (8 * width) - 1)
    order: Any = ("little", "big")[rng.integers(2)]
    return data[:place] + number.to_bytes(width, order) + data[place + width :]


def _number(rng: np.random.Generator, data: bytes) -> bytes:
    """Likewise for numbers in digits."""
    found = list(re.finditer(rb"\d+", data))
    if not found:
        return _lie(rng, data)
    match = found[rng.integers(len(found))]
    return data[: match.start()] + _TEXTS[rng.integers(len(_TEXTS))] + data[match.end() :]


_BLIND: tuple[Damage, ...] = (_flip, _flip, _cut, _append, _remove, _repeat, _move, _blank, _lie, _lie, _number)


# ---- containers ----


def within_gzip(rng: np.random.Generator, data: bytes) -> bytes:
    return gzip.compress(blindly(rng, gzip.decompress(data)), 1, mtime=0)


def within_zip(rng: np.random.Generator, data: bytes) -> bytes:
    """One member damaged, removed or twice there."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    i, kind = int(rng.integers(len(members))), rng.random()
    name, content = members[i]
    if kind < 0.8:
        members[i] = name, blindly(rng, content)
    elif kind < 0.9:
        del members[i]
    else:
        members.append((name, content))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def within_png(rng: np.random.Generator, data: bytes) -> bytes:
    """One chunk damaged, removed, repeated or moved; all checksums are right."""
    chunks, place = [], 8
    while place < len(data):
        length = struct.unpack_from(">I", data, place)[0]
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    i, kind = int(rng.integers(len(chunks))), rng.random()
    name, content = chunks[i]
    if kind < 0.4:
        chunks[i] = name, blindly(rng, content)
    elif kind < 0.6 and name == b"IDAT":
        chunks[i] = name, zlib.compress(blindly(rng, zlib.decompress(content)))
    elif kind < 0.8:
        del chunks[i]
    else:
        chunks.insert(int(rng.integers(len(chunks) + 1)), (name, content))
    return data[:8] + b"".join(_png_chunk(*chunk) for chunk in chunks)


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def within_safetensors(rng: np.random.Generator, data: bytes) -> bytes:
    """The header, which is JSON and holds JSON in strings, says something else; its length is right."""
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + length])
    for _ in range(rng.integers(1, 4)):
        header = _changed(rng, header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


_JSON: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2**20, 2**31, 2**40, 2**63, 2**64, 10**400, 1.5, -0.5, 1e308, float("nan"),
    float("inf"), "", "x", "relu", "same", "a/b", "\ud800", "1", "float64", [], {}, [1], [2**30, 2**30], [[1]], [None],
    {"a": 1}, {"class_name": "Dense", "config": {}}, {"class_name": "Sequential", "config": {"layers": []}}, "x" * 5000,
)  # fmt: skip


def _changed(rng: np.random.Generator, value: Any) -> Any:
    """``value`` with one thing in it replaced, removed, renamed or copied."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            inner = json.loads(value)
        except ValueError:
            return _JSON[rng.integers(len(_JSON))]
        return json.dumps(_changed(rng, inner))
    if not isinstance(value, dict | list) or not value or rng.random() < 0.03:
        return _JSON[rng.integers(len(_JSON))]
    changed = value.copy()
    keys = list(changed) if isinstance(changed, dict) else list(range(len(changed)))
    key, kind = keys[rng.integers(len(keys))], rng.random()
    if kind < 0.85:
        changed[key] = _changed(rng, changed[key])
    elif kind < 0.9:
        del changed[key]
    elif isinstance(changed, list):
        changed.insert(int(rng.integers(len(changed) + 1)), changed[key])
    else:
        changed[f"{key}x" if kind < 0.95 else str(rng.choice(keys))] = changed[key]
    return changed
