"""Exceptions of fastconv's own (everything else is a built-in exception), and hints for messages."""

import difflib
import sys
from collections.abc import Iterable, Sequence


def cut(text: str, length: int) -> str:
    """``text``, with dots in place of what is too long."""
    return text if len(text) <= length else f"{text[:length]}..."


def brief(error: Exception, length: int = 200) -> str:
    """What another library's error says, cut, as it may quote a whole file; its type if it says nothing."""
    return cut(str(error) or type(error).__name__, length)


def shortened(value: object, length: int = 80) -> str:
    """What a message shows of something that a file says: its repr, cut. Files may hold names of megabytes, integers
    too long to print and tuples nested too deep to print."""
    if isinstance(value, str | bytes):
        return cut(repr(value[: length + 1]), length)
    if value is None or isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= 128):
        return cut(repr(value), length)
    return cut(f"<{type(value).__name__}>", length)


class CheckpointError(ValueError):
    """A weight file is damaged, hostile or does not fit the model. The model is unchanged."""

    def __init__(self, message: str) -> None:
        super().__init__(cut(message, 2000))  # names in a file may be as long as the file


class DatasetError(ValueError):
    """A data file is missing, damaged or not what it says it is."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """What a message about an unknown name adds if a known one is close: ``" (did you mean 'relu'?)"``, or nothing."""
    by_lower_case = {other.lower(): other for other in known}
    close = difflib.get_close_matches(str(name).lower(), list(by_lower_case), 1, 0.6)
    return f" (did you mean {by_lower_case[close[0]]!r}?)" if close else ""


def channels_first_hint(shape: Sequence[int | None], channels: int) -> str:
    """What a message about a wrong number of channels adds if an array of ``shape`` may be (N, C, H, W), or nothing."""
    if len(shape) != 4 or shape[1] != channels:
        return ""
    return "; it looks like (N, C, H, W), fastconv wants (N, H, W, C): fastconv.utils.nchw_to_nhwc(x)"


def suggest_names(module: str) -> None:
    """Let the AttributeError of a misspelt name on ``module`` suggest one that the module exports."""

    def missing(name: str) -> object:
        exported = vars(sys.modules[module])["__all__"]
        hint = "" if name.startswith("_") else did_you_mean(name, exported)
        # Without an object, Python does not add a suggestion of its own.
        raise AttributeError(f"module {module!r} has no attribute {name!r}{hint}", name=name, obj=None)

    vars(sys.modules[module])["__getattr__"] = missing
