"""6,000 of MNIST's digits, inside the package: the first network trains without a download.

500 digits a class from MNIST's training part and 100 a class from its test part, in MNIST's order; cut by
`tools/make_mnist_mini.py`. MNIST is by Yann LeCun, Corinna Cortes and Christopher Burges, and like this cut of it under
CC BY-SA 3.0 (the text lies beside the data).
"""

from pathlib import Path

from . import _idx

_FOLDER = Path(__file__).parent / "data" / "mnist_mini"


def load_data() -> _idx.Arrays:
    """Load the embedded digits.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images `(5000, 28, 28)` and `(1000, 28, 28)`, labels `(5000,)` and
        `(1000,)`, all uint8; every class equally often.
    """
    return _idx.load_parts("mnist_mini", _FOLDER.joinpath)
