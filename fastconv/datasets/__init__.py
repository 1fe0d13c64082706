"""Data sets with Keras' `load_data()`: `(x_train, y_train), (x_test, y_test)`, uint8, channels last.

`mnist_mini` lies inside the package and needs no network. The others are looked for in
`$FASTCONV_DATA/<dataset>/`, then in the cache, then downloaded and checked against their SHA-256.
"""

from ..errors import suggest_names
from . import cifar10, fashion_mnist, mnist, mnist_mini

__all__ = ["cifar10", "fashion_mnist", "mnist", "mnist_mini"]
suggest_names(__name__)
