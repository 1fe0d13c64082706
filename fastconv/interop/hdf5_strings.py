"""Reads strings of variable length from an attribute of an HDF5 file, which may be hostile.

Such a string is stored as a length, which may lie, and a place in a heap. The HDF5 library allocates the length (up to
4 GB) before it looks at the place, searches a damaged heap for ever, and offers no way to look first. So this module
reads the bytes itself: "HDF5 File Format Specification", version 3, sections IV.A.1 (object headers), IV.A.2.m (the
attribute message) and III.E (the global heap).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10
_REFERENCE = struct.Struct("<IQI")  # of one string: its length, the heap's address, its number there
_HEAP, _OBJECT = struct.Struct("<4sB3xQ"), struct.Struct("<HH4xQ")  # before a heap, before a string in it
_LIMIT = 1000  # blocks of one header; they may form a ring

Message = tuple[int, bytes]  # type, content
Heap = dict[int, bytes]  # number -> object


def variable_length_strings(file: BinaryIO, size: int, address: int, name: str, count: int) -> list[bytes] | None:
    """Return the strings of an attribute.

    Args:
        file: the HDF5 file of ``size`` bytes; addresses in it have 8 bytes.
        address: of the header of the object that has the attribute.
        name: of the attribute.
        count: number of strings.

    Returns:
        The strings, or None if the attribute is not in the header, as Keras writes it, but somewhere else.

    Raises:
        struct.error, ValueError, LookupError, OverflowError: damage.
    """
    for kind, content in _messages(file, address):
        if kind == _ATTRIBUTE:
            found, data = _attribute(content)
            if found == name.encode():
                heaps: dict[int, Heap] = {}
                return [_string(file, size, heaps, *_REFERENCE.unpack_from(data, 16 * i)) for i in range(count)]
    return None


def _string(file: BinaryIO, size: int, heaps: dict[int, Heap], length: int, address: int, number: int) -> bytes:
    if not length:
        return b""
    if address not in heaps:
        heaps[address] = _heap(file, size, address)
    stored = heaps[address].get(number)
    if stored is None or len(stored) != length:
        there = "is missing" if stored is None else f"has {len(stored)} bytes"
        raise ValueError(f"a string claims {length} bytes; object {number} of the heap {there}")
    return stored


def _heap(file: BinaryIO, size: int, address: int) -> Heap:
    """Return the objects of a global heap collection."""
    if address > size:
        raise ValueError(f"a heap at byte {address} of {size}")
    file.seek(address)
    signature, version, length = _HEAP.unpack(file.read(_HEAP.size))
    if signature != b"GCOL" or version != 1 or length > size - address:
        raise ValueError(f"no heap of strings at byte {address}, or one of {length} bytes")
    data = file.read(length - _HEAP.size)
    objects: Heap = {}
    offset = 0
    while offset + _OBJECT.size <= len(data):
        number, _, stored = _OBJECT.unpack_from(data, offset)
        offset += _OBJECT.size
        if not number:  # the free space at the end
            break
        if stored > len(data) - offset:
            raise ValueError(f"object {number} of a heap has {stored} bytes, {len(data) - offset} are left")
        objects[number] = data[offset : offset + stored]
        offset += (stored + 7) // 8 * 8
    return objects


def _messages(file: BinaryIO, address: int) -> Iterator[Message]:
    """Yield the messages of an object header, of version 1 or 2."""
    file.seek(address)
    start = file.read(16)
    if start[:4] == b"OHDR":
        flags = start[5]
        width = 1 << (flags & 3)
        position = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        file.seek(position)
        size = int.from_bytes(file.read(width), "little")
        head, extra = struct.Struct("<BHB"), 2 if flags & 4 else 0
        blocks = [(position + width, size)]
    else:
        if start[:1] != b"\x01":
            raise ValueError(f"object header of version {start[:1]!r}")
        head, extra = struct.Struct("<HHB3x"), 0
        blocks = [(address + 16, struct.unpack_from("<I", start, 8)[0])]
    for _ in range(_LIMIT):
        if not blocks:
            return
        file.seek(blocks[0][0])
        block = _read(file, blocks.pop(0)[1])
        offset = 4 if block[:4] == b"OCHK" else 0
        while offset + head.size + extra <= len(block):
            kind, size, _flags = head.unpack_from(block, offset)
            offset += head.size + extra
            content = block[offset : offset + size]
            offset += size
            if kind == _CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", content))
            else:
                yield kind, content
    raise ValueError(f"an object header has more than {_LIMIT} blocks")


def _read(file: BinaryIO, size: int) -> bytes:
    return file.read(min(size, 1 << 24))  # attributes in a header have at most 64 KB


def _attribute(content: bytes) -> tuple[bytes, bytes]:
    """Return name and data of an attribute message."""
    version, name_size, type_size, space_size = struct.unpack_from("<BxHHH", content)
    offset = 9 if version == 3 else 8
    sizes = [name_size, type_size, space_size]
    if version == 1:  # each part ends at a multiple of 8 bytes
        sizes = [(size + 7) // 8 * 8 for size in sizes]
    name = content[offset : offset + name_size].rstrip(b"\0")
    return name, content[offset + sum(sizes) :]
