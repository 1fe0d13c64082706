"""Exceptions of fastconv's own (everything else is a built-in exception), and hints for messages."""

import difflib
import sys
from collections.abc import Iterable, Sequence


def brief(error: object, length: int = 200) -> str:
    """The text of another library's error, cut: it may quote a whole file."""
    text = str(error)
    return text if len(text) <= length else f"{text[:length]}..."


class CheckpointError(ValueError):
    """A weight file is damaged, hostile or does not fit the model. The model is unchanged."""

    def __init__(self, message: object) -> None:
        super().__init__(brief(message, 2000))  # names in a file may be as long as the file


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
