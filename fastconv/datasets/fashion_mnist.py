"""Fashion-MNIST: 70,000 pictures of clothing in MNIST's format (Xiao, Rasul and Vollgraf, 2017), arXiv:1708.07747."""

from . import _files, _idx

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)
# As published by TensorFlow Datasets.
_SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_MAX_BYTES = 30 << 20  # of a file; the largest has 26.4 million


def load_data() -> _idx.Arrays:
    """Load Fashion-MNIST from `$FASTCONV_DATA/fashion_mnist/`, the cache or the network (30 MB).

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images `(60000, 28, 28)` and `(10000, 28, 28)`, labels `(60000,)` and
        `(10000,)`, all uint8; `CLASS_NAMES[label]` is the label in words.

    Raises:
        DatasetError: a file is missing and cannot be downloaded, or is damaged.
    """
    return _idx.load_parts(
        "fashion_mnist", lambda name: _files.fetch("fashion_mnist", name, _urls(name), _SHA256[name], _MAX_BYTES)
    )


def _urls(name: str) -> tuple[str, ...]:
    return tuple(mirror + name for mirror in _MIRRORS)
