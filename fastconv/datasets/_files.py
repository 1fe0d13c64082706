"""Where a data file comes from: `$FASTCONV_DATA`, then the cache, then a checked download."""

import os
from pathlib import Path

from ..errors import DatasetError
from ._download import download

OFFLINE_HINT = "fastconv.datasets.mnist_mini needs no file: its 6,000 digits are part of the package."


def find_local(dataset: str, name: str) -> Path | None:
    """`$FASTCONV_DATA/<dataset>/<name>`, packed (`.gz`) or unpacked, whichever exists; else None."""
    root = os.environ.get("FASTCONV_DATA")
    if not root:
        return None
    folder = Path(root).expanduser() / dataset
    plain = name.removesuffix(".gz")
    candidates = (folder / f"{plain}.gz", folder / plain)
    return next((path for path in candidates if path.is_file()), None)


def fetch(dataset: str, name: str, urls: tuple[str, ...], sha256: str, max_bytes: int = 1 << 30) -> Path:
    """Path of one original file of a data set.

    A file under `$FASTCONV_DATA` is taken as it is. A file in the cache must have the given SHA-256; otherwise it is
    downloaded from the first of `urls` that delivers it, in at most `max_bytes`.

    Raises:
        DatasetError: the file is not here and could not be downloaded; the message says where to put it.
    """
    local = find_local(dataset, name)
    if local is not None:
        return local
    import pooch  # slow to import, and needed only for files that are not at hand

    cache = Path(pooch.os_cache("fastconv")) / dataset
    reasons: list[str] = []
    last_error: Exception | None = None
    for url in urls:
        try:
            return download(url, f"sha256:{sha256}", name, cache, max_bytes)
        except (OSError, ValueError) as error:
            reasons.append(f"{url} ({why_not(error, 'SHA-256')})")
            last_error = error
    raise DatasetError(
        f"{dataset}: {name} is not on this machine and could not be downloaded from {', nor from '.join(reasons)}. "
        f"Put the file at {wanted_place(dataset, name)} and try again. {OFFLINE_HINT}"
    ) from last_error


def why_not(error: Exception, kind_of_hash: str) -> str:
    """What an error of :func:`download` says about a URL."""
    if isinstance(error, DatasetError):
        return str(error)
    # A wrong hash is a ValueError, the errors of requests are OSErrors (some ValueErrors, too).
    return type(error).__name__ if isinstance(error, OSError) else f"wrong {kind_of_hash}"


def wanted_place(dataset: str, name: str) -> str:
    """Where a user should put a file, in words that depend on whether FASTCONV_DATA is set."""
    root = os.environ.get("FASTCONV_DATA")
    if root:
        return f"{Path(root).expanduser() / dataset / name} (FASTCONV_DATA is {root})"
    return f"$FASTCONV_DATA/{dataset}/{name} (set FASTCONV_DATA to a folder of yours)"


def damaged(dataset: str, path: Path, name: str, problem: str) -> DatasetError:
    """The error for a file that is not what it says it is."""
    return DatasetError(
        f"{path}: {problem}. Delete this file and put the original {name} at "
        f"{wanted_place(dataset, name)}. {OFFLINE_HINT}"
    )
