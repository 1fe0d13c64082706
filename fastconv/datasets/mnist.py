"""MNIST: 70,000 handwritten digits (LeCun, Cortes and Burges), http://yann.lecun.com/exdb/mnist/."""

from . import _files, _idx

_MIRRORS = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")
# As published by TensorFlow Datasets and torchvision for the original archives.
_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_MAX_BYTES = 10 << 20  # of a file; the largest has 9.9 million


def load_data() -> _idx.Arrays:
    """Load MNIST from `$FASTCONV_DATA/mnist/`, the cache or the network (11 MB).

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images `(60000, 28, 28)` and `(10000, 28, 28)`, labels `(60000,)` and
        `(10000,)`, all uint8; 0 is the background, 255 ink. Files of yours in that format may hold other counts.

    Raises:
        DatasetError: a file is missing and cannot be downloaded, or is damaged.
    """
    return _idx.load_parts("mnist", lambda name: _files.fetch("mnist", name, _urls(name), _SHA256[name], _MAX_BYTES))


def _urls(name: str) -> tuple[str, ...]:
    return tuple(mirror + name for mirror in _MIRRORS)
