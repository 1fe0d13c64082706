"""The binding's types: arrays of any dtype in, arrays or None out. The functions are in binding/*.pxi."""

from typing import Any

def __getattr__(name: str) -> Any: ...
