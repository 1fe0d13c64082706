"""Reads what a pickle says without executing it.

A pickle is a program for a small stack machine. The standard library's ``pickletools`` decodes its instructions (and
runs none); this module interprets those that build strings, numbers, tuples, lists and dicts, and refuses all others.
A class or function that the pickle names is looked up in a table of our own; nothing is ever imported. Unlike
``pickle.Unpickler`` with a strict ``find_class``, it also refuses keys that are not plain: hashing a deeply nested
tuple overflows the C stack. And no number of the file is hashed, as anybody can find numbers that collide in a dict,
which takes quadratic time then: keys that are numbers become their text (Python salts the hashes of strings and
bytes), the memo is a list.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

from ..errors import CheckpointError, brief, shortened

LIMIT = 16 << 20  # bytes: no description of tensors is as long

LONGEST_NAME = 10_000  # characters of a key: comparing two of megabytes takes long, and a file may do it often
_MOST_ARGUMENTS = 8  # of a function: _rebuild_tensor_v2 has seven
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = frozenset(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"))
_STRINGS = frozenset(
    ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES")
) | {"SHORT_BINBYTES"}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GET = frozenset(("GET", "BINGET", "LONG_BINGET"))
_MARK, _UNSET = object(), object()


class NumberKey(NamedTuple):
    """What stands for a number as a key of a dict."""

    text: str

    def __repr__(self) -> str:
        return self.text


class Global(NamedTuple):
    """A class or function that a pickle names, and what stands for it here.

    Attributes:
        name: as the pickle has it, e.g. ``"torch._utils._rebuild_tensor_v2"``.
        meaning: called with the arguments where the pickle would call; or, if not callable, just a value.
    """

    name: str
    meaning: Any


def plain_key(key: Any, source: str) -> Any:
    """Return what stands for ``key`` in a dict.

    Raises:
        CheckpointError: neither a string, a number, bytes nor None, or too long.
    """
    if key is None or isinstance(key, bool) or (isinstance(key, str | bytes) and len(key) <= LONGEST_NAME):
        return key
    if isinstance(key, float) or (isinstance(key, int) and key.bit_length() <= 64):
        return NumberKey(repr(key))
    kind = type(key).__name__
    if isinstance(key, str | bytes):
        kind += f" of {len(key)} characters"
    elif isinstance(key, int):
        kind += f" of {key.bit_length()} bits"
    raise CheckpointError(f"{source}: its pickle has a dict whose key is a {kind}")


class PickleMachine:
    """One run over one pickle.

    Args:
        stream: positioned at the pickle; afterwards right behind it.
        meanings: name -> function or value, everything that the pickle may name.
        persistent: called with each persistent id.
        source: of the pickle, for messages.
    """

    def __init__(
        self, stream: BinaryIO, meanings: Mapping[str, Any], persistent: Callable[[Any], Any] | None, source: str
    ) -> None:
        self.stream = stream
        self.meanings = meanings
        self.persistent = persistent
        self.source = source
        self.stack: list[Any] = []
        self.memo: list[Any] = []
        self.read = 0  # bytes, before the instruction

    def run(self) -> Any:
        """Return what the pickle describes.

        Raises:
            CheckpointError: an instruction or a name that is not admitted, or damage.
        """
        start = self.stream.tell()
        try:
            for opcode, argument, position in pickletools.genops(self.stream):
                self.read = (position or 0) - start
                if self.read > LIMIT:
                    raise CheckpointError(f"{self.source}: its pickle is longer than {LIMIT} bytes")
                if opcode.name == "STOP":
                    break
                self._step(opcode.name, argument)
            (result,) = self.stack
        except CheckpointError:
            raise
        except (ValueError, LookupError, TypeError, OverflowError, MemoryError, EOFError, struct.error) as error:
            raise CheckpointError(f"{self.source}: damaged pickle: {brief(error)}") from error
        return result

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _NUMBERS or name in _STRINGS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _TUPLES:
            stack.append(tuple(self._pop() for _ in range(_TUPLES[name]))[::-1])
        elif name == "TUPLE":
            stack.append(tuple(self._above_mark()))
        elif name == "LIST":
            stack.append(self._above_mark())
        elif name == "DICT":
            made: dict[Any, Any] = {}
            self._set_items(made, self._above_mark())
            stack.append(made)
        elif name in ("APPEND", "APPENDS"):
            items = [self._pop()] if name == "APPEND" else self._above_mark()
            self._top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [self._pop(), self._pop()][::-1] if name == "SETITEM" else self._above_mark()
            self._set_items(self._top(dict), items)
        elif name in _PUT:
            self._memoize(argument)
        elif name == "MEMOIZE":
            self.memo.append(stack[-1])
        elif name in _GET:
            stack.append(self._recall(argument))
        elif name not in ("PROTO", "FRAME"):
            self._name_or_call(name, argument)

    def _name_or_call(self, name: str, argument: Any) -> None:
        """The instructions that code hides behind."""
        if name == "GLOBAL":
            self.stack.append(self._find(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            if not (isinstance(module, str) and isinstance(attribute, str)):
                raise CheckpointError(
                    f"{self.source}: its pickle names a global by {shortened(module)} and {shortened(attribute)}"
                )
            self.stack.append(self._find(module, attribute))
        elif name == "REDUCE":
            arguments, function = self._pop(), self._pop()
            if not (isinstance(function, Global) and callable(function.meaning) and isinstance(arguments, tuple)):
                raise CheckpointError(f"{self.source}: its pickle calls {type(function).__name__}, no known function")
            if len(arguments) > _MOST_ARGUMENTS:
                raise CheckpointError(
                    f"{self.source}: its pickle calls {function.name} with {len(arguments)} arguments"
                )
            self.stack.append(function.meaning(*arguments))
        elif name == "BUILD":
            state = self._pop()
            # state_dict() keeps version numbers as an attribute of its OrderedDict; they are not needed.
            if not (isinstance(self._top(dict), dict) and isinstance(state, dict)):
                raise CheckpointError(f"{self.source}: its pickle sets the state of an object that is not a dict")
        elif name == "BINPERSID" and self.persistent is not None:
            self.stack.append(self.persistent(self._pop()))
        else:
            raise CheckpointError(
                f"{self.source}: its pickle contains the instruction {name}, which tensors do not need and code may use"
            )

    def _find(self, module: str, attribute: str) -> Global:
        name = f"{module}.{attribute}"
        if name not in self.meanings:
            raise CheckpointError(
                f"{self.source}: its pickle refers to {shortened(name, 200)}, which is not admitted: only tensors of "
                "numbers are read. If it holds a whole module, save its state_dict() instead: "
                "torch.save(module.state_dict(), path)"
            )
        return Global(name, self.meanings[name])

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark stands where a value should")
        return value

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"a {type(self.stack[-1]).__name__} stands where a {kind.__name__} should")
        return self.stack[-1]

    def _above_mark(self) -> list[Any]:
        # From the top: a search from the bottom would be quadratic.
        items = []
        while (value := self.stack.pop()) is not _MARK:
            items.append(value)
        return items[::-1]

    def _set_items(self, target: dict[Any, Any], items: list[Any]) -> None:
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[plain_key(key, self.source)] = value

    def _memoize(self, number: int) -> None:
        # Objects are numbered one after another, and each has taken a byte.
        if not 0 <= number <= self.read:
            raise ValueError(f"its object {number} is kept after {self.read} bytes")
        self.memo.extend([_UNSET] * (number + 1 - len(self.memo)))
        self.memo[number] = self.stack[-1]

    def _recall(self, number: int) -> Any:
        if not 0 <= number < len(self.memo) or self.memo[number] is _UNSET:
            raise ValueError(f"object {number} was not kept")
        return self.memo[number]
