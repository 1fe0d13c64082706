"""PyTorch files that are damaged or hostile: a CheckpointError that names what is wrong, the model unchanged."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import struct
import zipfile
import zlib
from typing import ClassVar

import numpy as np
import pytest
from interop_support import refused, state
from torch_oracle import torch

from fastconv.interop import read_torch_file


def archive(path, pickled, members=(), **options):
    """A zip file as torch.save writes them, around any pickle."""
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("m/data.pkl", pickled)
        file.writestr("m/byteorder", "little")
        for name, data in members:
            file.writestr(f"m/{name}", data)
    return path


# ---- pickles that would run code ----

MARKER = "fastconv_hostile_marker"


def touch():
    """What the hostile pickles below would call."""
    os.environ[MARKER] = "called"
    return {}


class Calls:
    """Pickles as a call of :func:`touch`."""

    def __reduce__(self):
        return touch, ()


class Stateful:
    """Pickles as NEWOBJ and BUILD."""

    def __setstate__(self, state):
        touch()


def stateful():
    made = Stateful()
    made.x = 1
    return made


def here(name):
    return f"{__name__}\n{name}\n".encode()


HOSTILE_PICKLES = {
    "REDUCE": (pickle.dumps(Calls(), 2), f"{__name__}.touch"),
    "REDUCE in a state dict": (pickle.dumps({"w": Calls()}, 2), f"{__name__}.touch"),
    "REDUCE by STACK_GLOBAL": (pickle.dumps(Calls(), 4), f"{__name__}.touch"),
    "GLOBAL alone": (b"\x80\x02c" + here("touch") + b".", f"{__name__}.touch"),
    "a name of builtins": (b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "builtins.eval"),
    "os.system": (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", "os.system"),
    "INST": (b"(i" + here("touch") + b".", "INST"),
    "OBJ": (b"\x80\x02(c" + here("touch") + b"o.", f"{__name__}.touch"),
    "OBJ of an admitted class": (b"\x80\x02(ccollections\nOrderedDict\no.", "OBJ"),
    "NEWOBJ": (pickle.dumps(stateful(), 2), "Stateful|_reconstructor"),
    "NEWOBJ of an admitted class": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
    "NEWOBJ_EX": (b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX"),
    "BUILD of a tuple": (b"\x80\x02)}X\x01\x00\x00\x00aK\x01sb.", "state of an object|stands where"),
    "BUILD of a storage class": (b"\x80\x02ctorch\nFloatStorage\n}b.", "stands where|state of"),
    "calling a dict": (b"\x80\x02})R.", "calls dict"),
    "calling a dtype": (b"\x80\x02ctorch\nFloatStorage\n)R.", "calls Global"),
    "EXT1": (b"\x80\x02\x82\x01.", "EXT1"),
    "PERSID": (b"P1\n.", "PERSID"),
    "a dict in a dict's key": (b"\x80\x02}(}K\x01u.", "key is a dict"),
    "a tuple nested 100,000 times as a key": (b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.", "key is a tuple"),
    "a list nested 100,000 times": (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "but a list"),
    "a doubling tuple": (b"\x80\x02)" + b"q\x00h\x00\x86" * 300 + b".", "but a tuple"),
    "a list in itself": (b"\x80\x02]q\x00h\x00a.", "but a list"),
    "a dict in itself": (b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dicth\x00s.", "no state dict, but a dict"),
    "an integer of a megabyte": (b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b".", "but a int"),
    "a string longer than the file": (b"\x80\x02X\xff\xff\xff\x7fabc.", "damaged pickle"),
    "bytes longer than any file": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "damaged pickle|BINBYTES8"),
    "no end": (b"\x80\x02}", "damaged pickle"),
    "nothing": (b"", "damaged pickle"),
    "an empty stack": (b"\x80\x02.", "damaged pickle"),
    "an empty stack's top": (b"\x80\x02q\x00.", "damaged pickle"),
    "no mark": (b"\x80\x02t.", "damaged pickle"),
    "an unknown memo": (b"\x80\x02h\x07.", "damaged pickle"),
    "an odd number of items": (b"\x80\x02}(K\x01u.", "damaged pickle"),
    "a mark as a value": (b"\x80\x02((\x85.", "damaged pickle"),
}


@pytest.mark.parametrize("name", HOSTILE_PICKLES)
@pytest.mark.parametrize("kind", ["zip", "older"])
def test_hostile_pickles(tmp_path, name, kind):
    pickled, message = HOSTILE_PICKLES[name]
    path = tmp_path / "w.pth"
    if kind == "zip":
        archive(path, pickled)
    else:
        preamble = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in preamble) + pickled + pickle.dumps([], 2))
    os.environ.pop(MARKER, None)
    refused(path, message)
    assert MARKER not in os.environ


def test_the_danger_is_real(monkeypatch):
    """What is refused above does run code when it is unpickled."""
    monkeypatch.delenv(MARKER, raising=False)
    pickle.loads(HOSTILE_PICKLES["REDUCE"][0])
    assert os.environ.pop(MARKER) == "called"


def test_the_extension_registry_is_not_asked(tmp_path):
    copyreg.add_extension(__name__, "touch", 240)
    try:
        pickled = pickle.dumps(Calls(), 2)
        assert b"\x82\xf0" in pickled  # EXT1 240: no global is named
        refused(archive(tmp_path / "w.pth", pickled), "EXT1")
    finally:
        copyreg.remove_extension(__name__, "touch", 240)


def test_a_pickle_that_is_too_long(tmp_path, monkeypatch):
    from fastconv.interop import _pickle_machine, torch_zip

    monkeypatch.setattr(_pickle_machine, "LIMIT", 1000)
    refused(archive(tmp_path / "w.pth", b"\x80\x02" + b"N0" * 2000 + b"."), "longer than 1000|instruction POP")
    monkeypatch.setattr(torch_zip, "LIMIT", 1000)
    refused(archive(tmp_path / "w.pth", b"\x80\x02" + b"N" * 2000 + b"."), "2003 bytes; at most 1000")


# ---- tensors that lie ----


class Storage:
    """Pickles as a reference to a storage."""

    def __init__(self, kind="FloatStorage", key="0", count=18, view=()):
        self.identifier = ("storage", Named("torch", kind), key, "cpu", count, *view)


class Named:
    """Pickles as a global of this name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickles as a call of a global."""

    def __init__(self, name, *arguments):
        self.function, self.arguments = Named(*name.rsplit(".", 1)), arguments


class Pickler(pickle._Pickler):
    """Writes what torch.save would, of things that PyTorch would not make."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def persistent_id(self, obj):
        return obj.identifier if isinstance(obj, Storage) else None

    def save_named(self, obj):
        self.write(f"c{obj.module}\n{obj.name}\n".encode())

    def save_call(self, obj):
        self.save(obj.function)
        self.save(obj.arguments)
        self.write(pickle.REDUCE)

    dispatch |= {Named: save_named, Call: save_call}


def dumps(obj):
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(obj)
    return buffer.getvalue()


def tensor(storage=None, offset=0, shape=(2, 1, 3, 3), strides=(9, 9, 3, 1), *rest):
    made = Storage() if storage is None else storage
    return Call("torch._utils._rebuild_tensor_v2", made, offset, shape, strides, False, {}, *rest)


LIES = {
    "offset": (tensor(offset=1), r"offset 1 reads element 18 of storage '0', which has 18"),
    "huge offset": (tensor(offset=2**62), "reads element 4611686018427387921"),
    "offset beyond 64 bits": (tensor(offset=2**63), "tensor's offset is 9223372036854775808"),
    "offset of a thousand digits": (tensor(offset=10**5000), "tensor's offset is <int>"),
    "negative offset": (tensor(offset=-1), "tensor's offset is -1"),
    "negative stride": (tensor(strides=(9, 9, -3, 1)), "tensor's stride is -3"),
    "stride": (tensor(strides=(9, 9, 30, 1)), "reads element 71 of storage"),
    "repeated elements": (tensor(shape=(10**6, 10**6), strides=(0, 0)), "1000000000000 elements, .* only 18"),
    "negative size": (tensor(shape=(-2, 1, 3, 3)), "tensor's size is -2"),
    "float size": (tensor(shape=(2.0, 1, 3, 3)), "tensor's size is 2.0"),
    "bool size": (tensor(shape=(True, 1, 3, 3)), "tensor's size is True"),
    "strides of another length": (tensor(strides=(1,)), "not tuples of the same length"),
    "shape as a list": (tensor(shape=[18], strides=[1]), "not tuples"),
    "many dimensions": (tensor(shape=(1,) * 99, strides=(1,) * 99), "99 dimensions"),
    "flags": (tensor(None, 0, (18,), (1,), {"neg": True}), "flags"),
    "no storage": (tensor(storage=3), "made of a int"),
    "a storage of objects": (tensor(Storage("PyObjectStorage")), r"torch\.PyObjectStorage"),
    "complex numbers": (tensor(Storage("ComplexFloatStorage")), r"torch\.ComplexFloatStorage"),
    "more than the file has": (tensor(Storage(count=10**12)), "4000000000000 bytes"),
    "another size than the member": (tensor(Storage(count=19)), r"19 x 4 = 76 bytes, found 72.*'0\.weight'"),
    "a negative size of storage": (tensor(Storage(count=-1)), "storage's size is -1"),
    "a storage that is not there": (tensor(Storage(key="7")), r"member 'm/data/7' is missing.*'0\.weight'"),
    "a storage outside the archive": (tensor(Storage(key="../../etc")), "is missing"),
    "too many arguments": (Call("torch._utils._rebuild_tensor_v2"), "damaged pickle"),
    "a view": (tensor(Storage(view=(("v", 10, 10),))), r"ends at element 10 \+ 10 = 20, the storage has 18"),
    "a parameter without a tensor": (Call("torch._utils._rebuild_parameter", 3, True, {}), "parameter is a int"),
    "an OrderedDict of pairs": (Call("collections.OrderedDict", [(1, 2)]), "keys that are not strings"),
    "an OrderedDict of a number": (Call("collections.OrderedDict", 5), "made of a int"),
    "not a tensor": ("text", "not a tensor, but a str|no state dict"),
    "not a tensor among tensors": ({"inner": 1}, "no state dict|not a tensor"),
}


@pytest.mark.parametrize("name", LIES)
def test_tensors_that_lie(tmp_path, name):
    value, message = LIES[name]
    path = archive(tmp_path / "w.pth", dumps({"0.weight": value}), [("data/0", bytes(72))])
    refused(path, message)


def test_one_storage_described_twice(tmp_path):
    pair = {"a": tensor(), "b": tensor(Storage("LongStorage"))}
    refused(archive(tmp_path / "w.pth", dumps(pair), [("data/0", bytes(72))]), "described twice")


def test_a_view_of_the_older_format_is_read(tmp_path):
    """The counterpart of the lies: what they distort is accepted when it is true."""
    numbers = np.arange(18, dtype="<f4")
    viewed = tensor(Storage(view=(("v", 10, 8),)), 1, (2, 3), (3, 1))
    path = archive(tmp_path / "w.pth", dumps({"w": tensor(), "v": viewed}), [("data/0", numbers.tobytes())])
    arrays = read_torch_file(path)
    np.testing.assert_array_equal(arrays["w"].ravel(), numbers)
    np.testing.assert_array_equal(arrays["v"], numbers[11:17].reshape(2, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], r"ends at byte \d+, the file has \d+: it is truncated"),
        (lambda data: data[:-9], "truncated|end of the file"),
        (lambda data: data[: len(data) // 2], "truncated|damaged|end of the file"),
        (lambda data: data[:3], "damaged"),
        (lambda data: b"\x80\x02K\x07." + data, "not one of torch.save"),
    ],
)
def test_older_format_truncated(tmp_path, change, message):
    path = tmp_path / "w.pth"
    torch.save(state(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(change(path.read_bytes()))
    refused(path, message)


def test_older_format_with_another_count_before_the_data(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"w": torch.arange(5.0)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    for count in (2**62, -1, 4):
        path.write_bytes(data[: -5 * 4 - 8] + struct.pack("<q", count) + data[-5 * 4 :])
        refused(path, f"5 elements, its data say {count}")


# ---- archives ----


def test_archives_that_are_not_pytorchs(tmp_path):
    path = tmp_path / "w.pth"
    good = dumps({"0.weight": tensor()})
    data = [("data/0", bytes(72))]
    refused(archive(path, good, data, compression=zipfile.ZIP_DEFLATED), "compressed")
    refused(archive(path, good), "member 'm/data/0' is missing")
    refused(archive(path, good, [*data, ("code/m.py", ""), ("constants.pkl", "")]), "TorchScript")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    refused(path, r"no member data\.pkl")
    archive(path, good, data)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("m/data/0", bytes(72))
    refused(path, "same name")
    whole = archive(path, good, data).read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(path, "damaged zip archive|member .* is damaged")
    path.write_bytes(whole.replace(b"little", b"middle"))
    refused(path, "damaged|byteorder")


def test_encrypted_member(tmp_path):
    path = archive(tmp_path / "w.pth", dumps({"0.weight": tensor()}), [("data/0", bytes(72))])
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := data.find(signature, start)) >= 0:
            data[start + flags] |= 1
            start += 4
    path.write_bytes(bytes(data))
    refused(path, r"member 'm/data\.pkl' is encrypted")


def test_members_that_overlap(tmp_path):
    """Many names for the same bytes would be read many times; the sum may not pass the size of the file."""
    count, size = 50, 100_000
    path, tensors = tmp_path / "w.pth", {}
    for i in range(count):
        tensors[f"w{i}"] = tensor(Storage(key=str(i), count=size), 0, (size,), (1,))
    archive(path, dumps(tensors), [(f"data/{i:d}", b"") for i in range(count)] + [("all", bytes(4 * size))])
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        big = file.getinfo("m/all")
    crc = zlib.crc32(bytes(4 * size))
    start = data.find(b"PK\x01\x02")
    while start >= 0:  # every entry of the directory points at the one large member
        length = struct.unpack_from("<H", data, start + 28)[0]
        if b"data/" in data[start + 46 : start + 46 + length]:
            struct.pack_into("<III", data, start + 16, crc, 4 * size, 4 * size)
            struct.pack_into("<I", data, start + 42, big.header_offset)
        start = data.find(b"PK\x01\x02", start + 4)
    path.write_bytes(bytes(data))
    refused(path, "damaged|its storages have")
