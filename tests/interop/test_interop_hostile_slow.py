"""PyTorch files of half a megabyte that would take seconds, minutes or gigabytes to refuse."""

from __future__ import annotations

import pickle
import struct
import time

import numpy as np
import pytest
from interop_support import refused
from test_interop_hostile import archive, dumps, tensor

from fastconv.interop import read_torch_file

PRIME = 2**61 - 1  # hash(n) is n modulo this number


def number(n):
    return pickle.dumps(n, 2)[2:-1]


def text(characters):
    return b"X" + struct.pack("<I", len(characters)) + characters.encode()


def keys(numbers):
    return b"\x80\x02}(" + b"".join(number(n) + b"N" for n in numbers) + b"u."


def chain(bits=17, easy=60_000, hard=27_000):
    """Keys of 32 bits whose hashes differ, but whose places in a dict of 2^17 are along one chain: each later key
    finds its way to the first half of the chain, and follows it to the end."""
    mask = (1 << bits) - 1
    place, places = 1, []
    for _ in range(easy):
        places.append(place)
        place = (5 * place + 1) & mask  # where CPython looks next
    taken = np.zeros(1 << bits, bool)
    taken[places] = True
    early = np.zeros_like(taken)
    early[places[: easy // 2]] = True
    rng, found = np.random.default_rng(0), []
    while len(found) < hard:
        key = rng.integers(1 << bits, 2**31, 1_000_000)
        place, rest, follows = key & mask, key.copy(), taken[key & mask]
        for _ in range(7):
            rest >>= 5
            place = (5 * place + rest + 1) & mask
            follows &= taken[place]
        found += key[follows & early[place]].tolist()
    return places + found[:hard]


KEPT = b"h\x00"  # the object that was kept as number 0
LONG_LIST = b"\x80\x02(" + b"N" * 100_000 + b"lq\x00"
LONG_TUPLE = b"\x80\x02(" + b"N" * 100_000 + b"tq\x00"
PAIRS = b"\x80\x02" + text("a") + b"N\x86q\x01(" + b"h\x01" * 50_000 + b"lq\x00"
SLOW = {
    "integers that collide": (lambda: keys(PRIME * i for i in range(1, 45_000)), "key is a int of 65 bits"),
    "integers that look for a place": (lambda: keys(chain()), "no state dict, but a dict with the keys 1, 6, 31, 156"),
    "floats that collide": (
        lambda: keys(float(i) * 2.0 ** (61 * j) for i in range(1, 3000) for j in range(15)),
        "with the keys 1.0, 2.305843009213694e",
    ),
    "numbers of kept objects that collide": (
        lambda: b"\x80\x02N" + b"".join(b"p%d\n" % (PRIME * i) for i in range(1, 24_000)) + b".",
        "object 2305843009213693951 is kept after 3 bytes",
    ),
    "equal keys of megabytes": (
        lambda: b"\x80\x02" + text("a" * 10**6) + b"q\x00" + text("a" * 10**6) + b"q\x01}(h\x00Nh\x01Nu.",
        "key is a str of 1000000 characters",
    ),
    "a long list copied as sizes": (
        lambda: LONG_LIST + b"(" + (b"ctorch\nSize\n" + KEPT + b"\x85R") * 2000 + b"l.",
        "a size has 100000 dimensions",
    ),
    "a long list copied as dicts": (
        lambda: PAIRS + b"(" + (b"ccollections\nOrderedDict\n" + KEPT + b"\x85R") * 2000 + b"l.",
        "OrderedDicts are made of more than 524288 pairs",
    ),
    "a long tuple of arguments": (
        lambda: LONG_TUPLE + b"ctorch._utils\n_rebuild_parameter\n" + KEPT + b"R.",
        "_rebuild_parameter with 100000 arguments",
    ),
    "long names of storages": (
        lambda: (
            b"\x80\x02" + text("storage") + b"q\x01B" + struct.pack("<I", 200_000) + b"a" * 200_000 + b"q\x00("
            + b"(h\x01ctorch\nFloatStorage\n" + KEPT + b"NK\x01tQl."
        ),
        "a storage without a key",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOW)
def test_small_pickles_that_take_long(tmp_path, name):
    make, message = SLOW[name]
    path = archive(tmp_path / "w.pth", make())
    assert path.stat().st_size < 2_500_000
    start = time.process_time()
    refused(path, message)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("kept", [b"p-1\n", b"p4\n", b"r\xff\xff\xff\xff", b"p0\ng-1\n", b"p2\ng0\n"])
def test_numbers_of_kept_objects(tmp_path, kept):
    """Objects are numbered one after another: none has a number above that of the bytes before."""
    message = "damaged pickle: .*object .* (is kept after 3 bytes|was not kept)"
    refused(archive(tmp_path / "w.pth", b"\x80\x02}" + kept + b"."), message)


def test_numbers_as_keys_are_told(tmp_path):
    """Optimizers' states have such keys; a tensor's name is none of them."""
    inner = {0: {"step": 1}, -(2**62): None, 1.5: 2, True: 3, None: 4, b"x": 5}
    named = r"the keys 0, -4611686018427387904, 1\.5, True, None, b'x'$"
    refused(archive(tmp_path / "w.pth", pickle.dumps(inner, 3)), named)
    refused(archive(tmp_path / "w.pth", dumps({"a": tensor(), 7: tensor()})), "a tensor's name is 7, not a string")
    checkpoint = {"state": {0: None, -1.5: None}, "model": {"w": tensor()}}
    arrays = read_torch_file(archive(tmp_path / "w.pth", dumps(checkpoint), [("data/0", bytes(72))]))
    assert list(arrays) == ["w"]
