"""Exceptions of fastconv's own (everything else is a built-in exception), and a hint for messages."""

import difflib
from collections.abc import Iterable


class CheckpointError(ValueError):
    """A weight file is damaged, hostile or does not fit the model. The model is unchanged."""


class DatasetError(ValueError):
    """A data file is missing, damaged or not what it says it is."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """What a message about an unknown name adds if a known one is close: ``" (did you mean 'relu'?)"``, or nothing."""
    close = difflib.get_close_matches(str(name).lower(), list(known), 1, 0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
