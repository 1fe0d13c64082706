"""Export to ONNX, layer by layer: ONNX Runtime computes what fastconv computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx_support import around, compare, images, randomise
from support import PoolCase, random_conv_case, random_pool_cases

import fastconv as fc
from fastconv import layers as L  # noqa: N812

# ---- layers on images, of known and of unknown size ----

ODD, EVEN = (2, 9, 14, 4), (1, 12, 7, 4)
GEOMETRIES: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "conv valid": (lambda: L.Conv2D(5, (3, 2)), ODD),
    "conv same": (lambda: L.Conv2D(5, (4, 3), padding="same"), ODD),
    "conv same strided": (lambda: L.Conv2D(5, (3, 5), (2, 3), "same"), EVEN),
    "conv same strided odd": (lambda: L.Conv2D(5, (3, 5), (2, 3), "same"), ODD),
    "conv same small": (lambda: L.Conv2D(5, 2, (3, 4), "same"), (2, 10, 9, 4)),
    "conv same pointwise": (lambda: L.Conv2D(5, 1, (2, 3), "same"), ODD),
    "conv same dilated": (lambda: L.Conv2D(5, 3, padding="same", dilation_rate=(2, 3)), ODD),
    "conv same dilated strided": (lambda: L.Conv2D(5, 3, (2, 3), padding="same", dilation_rate=(2, 3)), ODD),
    "conv asymmetric": (lambda: L.Conv2D(5, 3, 2, ((0, 1), (2, 0))), EVEN),
    "conv dilated": (lambda: L.Conv2D(5, (2, 3), padding=(1, 2), dilation_rate=(3, 2)), ODD),
    "conv groups": (lambda: L.Conv2D(6, 3, padding=1, groups=2, use_bias=False), ODD),
    "depthwise": (lambda: L.DepthwiseConv2D((3, 2), 2, "same", depth_multiplier=3, activation="relu6"), ODD),
    "depthwise plain": (lambda: L.DepthwiseConv2D(3, padding=1, dilation_rate=2, use_bias=False), EVEN),
    "separable": (lambda: L.SeparableConv2D(7, 3, 2, "same", depth_multiplier=2, activation="elu"), EVEN),
    "transposed": (lambda: L.Conv2DTranspose(5, (3, 4)), ODD),
    "transposed valid wide": (lambda: L.Conv2DTranspose(5, (2, 3), (3, 4)), ODD),
    "transposed same": (lambda: L.Conv2DTranspose(5, (4, 3), (3, 2), "same", activation="tanh"), ODD),
    "transposed same wide": (lambda: L.Conv2DTranspose(5, 2, (3, 4), "same"), EVEN),
    "transposed same extra": (lambda: L.Conv2DTranspose(5, (4, 3), (2, 3), "same", output_padding=(0, 1)), ODD),
    "transposed numbers": (lambda: L.Conv2DTranspose(5, (5, 3), (2, 3), ((1, 2), (0, 1)), (1, 2)), EVEN),
    "transposed valid extra": (lambda: L.Conv2DTranspose(5, 3, 2, output_padding=1, use_bias=False), ODD),
    "transposed cropped": (lambda: L.Conv2DTranspose(5, 3, 1, ((2, 3), (2, 2))), ODD),
    "transposed dilated": (lambda: L.Conv2DTranspose(5, 3, (1, 2), 1, (0, 1), dilation_rate=(2, 3)), ODD),
    "dense on images": (lambda: L.Dense(6, "softmax"), ODD),
    "batch norm": (lambda: L.BatchNormalization(epsilon=0.01), ODD),
    "batch norm plain": (lambda: L.BatchNormalization(center=False, scale=False), ODD),
    "lrn": (lambda: L.LocalResponseNormalization(2, 2.0, 0.3, 0.75), (2, 5, 6, 9)),
    "max pool": (lambda: L.MaxPool2D((3, 2), (2, 3)), ODD),
    "max pool same": (lambda: L.MaxPool2D(3, (2, 3), "same"), EVEN),
    "max pool same small": (lambda: L.MaxPool2D(2, (3, 4), "same"), (2, 10, 9, 4)),
    "max pool padded": (lambda: L.MaxPool2D(3, 2, ((1, 0), (0, 1))), EVEN),
    "max pool ceil": (lambda: L.MaxPool2D(3, 2, ceil_mode=True), (2, 8, 11, 3)),
    "max pool ceil padded": (lambda: L.MaxPool2D((2, 3), (2, 2), 1, ceil_mode=True), (2, 7, 10, 3)),
    "max pool ceil drops": (lambda: L.MaxPool2D(2, (4, 3), 1, ceil_mode=True), (2, 7, 10, 3)),
    "max pool ceil same": (lambda: L.MaxPool2D(3, 2, "same", ceil_mode=True), ODD),
    "max pool argmax": (lambda: L.MaxPool2D(3, 2, 1, ceil_mode=True, return_argmax=True), (2, 8, 11, 3)),
    "max pool argmax same": (lambda: L.MaxPool2D(3, 2, "same", return_argmax=True), (3, 8, 11, 3)),
    "avg pool": (lambda: L.AvgPool2D((3, 2), (2, 3)), ODD),
    "avg pool same": (lambda: L.AvgPool2D(3, (2, 1), "same"), EVEN),
    "avg pool same strided": (lambda: L.AvgPool2D(3, (2, 3), "same"), ODD),
    "avg pool same counted": (lambda: L.AvgPool2D(3, (2, 3), "same", count_include_pad=True), EVEN),
    "avg pool same small": (lambda: L.AvgPool2D(2, (3, 4), "same"), (2, 10, 9, 4)),
    "avg pool same small counted": (lambda: L.AvgPool2D(2, (3, 4), "same", count_include_pad=True), (2, 10, 9, 4)),
    "avg pool padded": (lambda: L.AvgPool2D(3, 2, ((1, 0), (0, 1))), EVEN),
    "avg pool counted": (lambda: L.AvgPool2D(3, 2, ((1, 0), (0, 1)), count_include_pad=True), EVEN),
    "avg pool ceil": (lambda: L.AvgPool2D((3, 4), (2, 3), 1, ceil_mode=True), (2, 8, 12, 3)),
    "avg pool ceil counted": (lambda: L.AvgPool2D(3, 2, 1, ceil_mode=True, count_include_pad=True), (2, 8, 12, 3)),
    "avg pool ceil drops": (lambda: L.AvgPool2D(2, (4, 3), 1, ceil_mode=True), (2, 7, 10, 3)),
    "avg pool ceil counted drops": (
        lambda: L.AvgPool2D(2, (4, 3), 1, ceil_mode=True, count_include_pad=True),
        (2, 7, 10, 3),
    ),
    "global avg pool": (lambda: L.GlobalAvgPool2D(), ODD),
    "global avg pool keepdims": (lambda: L.GlobalAvgPool2D(keepdims=True), ODD),
    "global max pool": (lambda: L.GlobalMaxPool2D(), ODD),
    "global max pool keepdims": (lambda: L.GlobalMaxPool2D(keepdims=True), ODD),
    "zero padding": (lambda: L.ZeroPadding2D(((1, 0), (2, 3))), ODD),
    "cropping": (lambda: L.Cropping2D(((1, 0), (2, 3))), ODD),
    "up-sampling": (lambda: L.UpSampling2D((2, 3)), ODD),
    "up-sampling bilinear": (lambda: L.UpSampling2D((2, 3), interpolation="bilinear"), ODD),
    "rescaling": (lambda: L.Rescaling(1 / 7, 0.3), ODD),
    "rescaling channels": (lambda: L.Rescaling([0.1, 2, 3, 4], [1, 2, 3, 4]), ODD),
    "prelu channels": (lambda: L.PReLU(shared_axes=(1, 2)), ODD),
    "softmax": (lambda: L.Softmax(), ODD),
    "dropout": (lambda: L.Dropout(0.5), ODD),
    "spatial dropout": (lambda: L.SpatialDropout2D(0.5), ODD),
    "reshape": (lambda: L.Reshape((-1, 4)), ODD),
}


@pytest.mark.parametrize("known", [True, False], ids=["known size", "any size"])
@pytest.mark.parametrize("case", GEOMETRIES)
def test_image_layers(case: str, known: bool) -> None:
    make, shape = GEOMETRIES[case]
    compare(around(make, shape, known=known), *images([shape]))


@pytest.mark.parametrize("height", range(4, 12))
@pytest.mark.parametrize("padding", ["same", ((1, 0), (0, 1))], ids=["same", "numbers"])
def test_one_graph_for_every_size(padding: Any, height: int) -> None:
    """The same export serves all sizes: rounding, padding and the dropped window are the graph's business."""
    x = fc.Input((None, None, 3))
    pools = [
        pool((3, 2), (2, 3), padding, ceil_mode=ceil, **more)(x)
        for ceil in (False, True)
        for pool, more in ((L.MaxPool2D, {}), (L.AvgPool2D, {}), (L.AvgPool2D, {"count_include_pad": True}))
    ]
    compare(fc.Model(x, pools), *images([(1, height, 15 - height, 3)]))


ACTIVATIONS = ["relu", "relu6", "leaky_relu", ("leaky_relu", 0.05), "elu", ("elu", 0.4), "sigmoid", "tanh", "softmax"]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_activations(activation: Any) -> None:
    """Fused into a convolution, on images as they come and as convolutions leave them, and on vectors."""
    x = fc.Input((6, 5, 3))
    y = L.Conv2D(4, 3, activation=activation)(x)
    z = L.Dense(5, activation)(L.Flatten()(L.Activation(activation)(L.Rescaling(3.0)(x))))
    outputs = [y, L.Activation(activation)(L.Conv2D(4, 3)(x)), L.Conv2D(2, 1, activation=activation)(y), z]
    model = fc.Model(x, outputs)
    randomise(model)
    compare(model, *images([(2, 6, 5, 3)]))


RECTIFIERS = [
    L.ReLU,
    lambda: L.ReLU(1.5),
    lambda: L.ReLU(6),
    lambda: L.ReLU(0.9, 0.1, 0.4),
    lambda: L.ReLU(threshold=0.5),
    lambda: L.ReLU(negative_slope=0.2),
    L.LeakyReLU,
    lambda: L.LeakyReLU(0.0),
    L.ELU,
    lambda: L.ELU(0.3),
    L.PReLU,
    lambda: L.PReLU(shared_axes=(1,)),
    lambda: L.Activation("linear"),
]


@pytest.mark.parametrize("make", RECTIFIERS)
def test_activation_layers(make: Any) -> None:
    x = fc.Input((6, 5, 3))
    model = fc.Model(x, [make()(x), make()(L.Conv2D(4, 3)(x)), make()(L.Reshape((10, 9))(x)), make()(L.Flatten()(x))])
    randomise(model)
    compare(model, *images([(2, 6, 5, 3)]))


@pytest.mark.parametrize("case", random_pool_cases(40, 5), ids=str)
def test_random_pools(case: PoolCase) -> None:
    (x,) = images([case.input_shape])
    for known in (True, False):
        given = fc.Input(x.shape[1:] if known else (None, None, x.shape[3]))
        pools = [L.MaxPool2D(**case.arguments), L.AvgPool2D(**case.arguments)]
        pools.append(L.AvgPool2D(**case.arguments, count_include_pad=True))
        compare(fc.Model(given, [pool(given) for pool in pools]), x)


def test_random_convolutions() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        case = random_conv_case(rng)
        geometry = {key: value for key, value in case.arguments.items() if key != "groups"}
        for known in (True, False):
            (x,) = images([case.input_shape])
            given = fc.Input(x.shape[1:] if known else (None, None, x.shape[3]))
            model = fc.Model(
                given,
                [
                    L.Conv2D(case.filters, case.kernel, **case.arguments)(given),
                    L.DepthwiseConv2D(case.kernel, depth_multiplier=2, **geometry)(given),
                ],
            )
            randomise(model)
            compare(model, x)


# ---- layers on other arrays, and on several ----


@pytest.mark.parametrize("shape", [(3, 8), (3, 5, 8), (2, 3, 4, 5, 8)])
def test_arrays_that_are_not_images(shape: tuple[int, ...]) -> None:
    x = fc.Input(shape[1:])
    y = L.Dense(6, "softmax")(L.LocalResponseNormalization(1, 1.0, 0.2)(L.BatchNormalization()(x)))
    model = fc.Model(x, [y, L.Dense(3, use_bias=False)(x), L.Flatten()(x), L.Concatenate(1)([x, x])])
    randomise(model)
    compare(model, *images([shape]))


def test_locally_connected() -> None:
    compare(around(lambda: L.LocallyConnected2D(5, (3, 2), (2, 3), activation="relu"), ODD), *images([ODD]))
    compare(around(lambda: L.LocallyConnected2D(5, 1, use_bias=False), EVEN), *images([EVEN]))


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2])
def test_concatenate(axis: int) -> None:
    """Of an image as it came and two that convolutions left."""
    x = fc.Input((6, 5, 3))
    y = L.Concatenate(axis)([x, L.Conv2D(3, 3, padding="same")(x), L.ReLU()(x)])
    compare(fc.Model(x, y), *images([(2, 6, 5, 3)]))


@pytest.mark.parametrize("layer", [L.Add, L.Multiply])
def test_sums_and_products(layer: Any) -> None:
    """Of images in both layouts, of vectors, and with a gate that is repeated."""
    x, v = fc.Input((6, 5, 3)), fc.Input((4,))
    y = L.Conv2D(3, 3, padding="same")(x)
    gate = L.Dense(3, "sigmoid")(L.GlobalAvgPool2D(keepdims=True)(y))
    outputs = [layer()([x, y, x]), layer()([y, gate]), layer()([gate, x]), layer()([v, L.Dense(4)(v)])]
    compare(fc.Model([x, v], outputs), *images([(2, 6, 5, 3), (2, 4)]))


@pytest.mark.parametrize("known", [True, False], ids=["known size", "any size"])
@pytest.mark.parametrize(
    ("size", "pool", "padding", "output_size"),
    [
        ((8, 12), {"pool_size": 2}, "valid", None),
        ((9, 13), {"pool_size": 2}, "valid", (9, 13)),
        ((9, 13), {"pool_size": 3, "strides": 2}, 1, (9, 13)),
        ((9, 12), {"pool_size": (3, 2), "strides": (2, 2)}, "valid", None),
    ],
    ids=["plain", "output_size", "padded", "overlapping"],
)
def test_unpooling(size: Any, pool: Any, padding: Any, output_size: Any, known: bool) -> None:
    """Several images and channels: an index that counted through the tensor would land in another plane.

    The values are no longer those of the pool, so where windows overlap, it matters which one comes last.
    """
    x = fc.Input((*size, 3) if known else (None, None, 3))
    y, argmax = L.MaxPool2D(**pool, padding=padding, return_argmax=True)(x)
    z = L.MaxUnpool2D(**pool, output_size=output_size)([L.Conv2D(3, 1)(y), argmax])
    compare(fc.Model(x, [z, argmax]), *images([(2, *size, 3)]))
