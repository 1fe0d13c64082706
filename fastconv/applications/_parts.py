"""Parts that several networks share: widths, convolution with a rectifier, AlexNet's normalisation."""

from __future__ import annotations

from typing import Any

from .. import layers
from ..layers.arguments import positive
from ..layers.node import Tensor

#: Constants of AlexNet's local response normalisation (section 3.3): n = 5 channels, k = 2; alpha multiplies the sum.
ALEXNET_LRN: dict[str, Any] = {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75}


class Width:
    """Scales numbers of filters: ``Width(0.25)(96)`` is 24; never below 1.

    Args:
        factor: > 0; 1 is the network of the paper.

    Raises:
        TypeError, ValueError: not a positive number.
    """

    def __init__(self, factor: float) -> None:
        self.factor = positive(factor, "width")

    def __call__(self, filters: int) -> int:
        return max(1, round(filters * self.factor))


def conv_relu(
    x: Tensor, filters: int, kernel_size: int, name: str, strides: int = 1, padding: int | str = "same"
) -> Tensor:
    """A convolution with bias and ReLU, initialised after He et al. (2015), so that it trains without batch norm."""
    conv = layers.Conv2D(
        filters, kernel_size, strides, padding, activation="relu", kernel_initializer="he_uniform", name=name
    )
    return conv(x)


def dense_relu(x: Tensor, units: int, name: str) -> Tensor:
    """A dense layer with bias and ReLU, initialised after He et al. (2015)."""
    return layers.Dense(units, activation="relu", kernel_initializer="he_uniform", name=name)(x)


def scaled(filters: int, alpha: float) -> int:
    """Return ``int(filters * alpha)``, the width of a layer in a network ``alpha`` times as wide.

    Raises:
        ValueError: nothing is left of it.
    """
    width = int(filters * alpha)
    if width < 1:
        raise ValueError(f"alpha = {alpha} leaves no filter of a layer's {filters}: it must be at least {1 / filters}")
    return width
