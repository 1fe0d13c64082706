"""Process-wide settings: the default dtype, threads and instruction set."""

_floatx = "float32"


def floatx() -> str:
    """Return the dtype new layers get by default: ``"float32"`` or ``"float64"``."""
    return _floatx


def set_floatx(dtype: str) -> None:
    """Set the dtype of layers created from now on: ``"float32"`` or ``"float64"`` (for gradient checks)."""
    global _floatx
    if dtype not in ("float32", "float64"):
        raise ValueError(f"floatx must be 'float32' or 'float64', got {dtype!r}")
    _floatx = dtype
