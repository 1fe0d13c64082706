"""Cut the embedded data set out of MNIST: `python tools/make_mnist_mini.py FOLDER_WITH_THE_FOUR_MNIST_FILES`.

A seeded choice of 500 digits a class from the training part and 100 a class from the test part, in MNIST's order,
written as IDX files. The same input gives the same bytes.
"""

import argparse
import gzip
import struct
from pathlib import Path

import numpy as np

from fastconv.datasets import _idx, mnist_mini

SEED = 1998  # the year of "Gradient-based learning applied to document recognition"
PER_CLASS = {"train": 500, "t10k": 100}


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a uint8 array as gzip-compressed IDX, without a time stamp."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=9, mtime=0))


def choose(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of `per_class` samples of each class."""
    chosen = [rng.choice(np.flatnonzero(labels == label), per_class, replace=False) for label in range(10)]
    return np.sort(np.concatenate(chosen))


def main() -> None:
    """Read the four files, cut both parts, write them beside the licence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder with MNIST's four .gz files")
    parser.add_argument("--target", type=Path, default=mnist_mini._FOLDER, help="where to write (the package)")
    arguments = parser.parse_args()
    parts = _idx.load_parts("mnist", arguments.source.joinpath)
    rng = np.random.default_rng(SEED)
    for (part, per_class), (images, labels) in zip(PER_CLASS.items(), parts, strict=True):
        indices = choose(labels, per_class, rng)
        write_idx(arguments.target / f"{part}-images-idx3-ubyte.gz", images[indices])
        write_idx(arguments.target / f"{part}-labels-idx1-ubyte.gz", labels[indices])


if __name__ == "__main__":
    main()
