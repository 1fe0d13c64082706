"""The worked examples of the course notes (cs231n, "Convolutional Networks"), and what every student computes once."""

import numpy as np
import pytest

from fastconv import ops
from fastconv.ops.geometry import conv2d_output_shape


def test_alexnets_first_layer() -> None:
    """227 x 227 x 3, 96 filters 11 x 11, stride 4: 55 x 55 x 96 = 290,400 neurons, 34,944 parameters."""
    x = np.random.default_rng(1).standard_normal((1, 227, 227, 3)).astype(np.float32)
    kernel = np.random.default_rng(2).standard_normal((11, 11, 3, 96)).astype(np.float32)
    bias = np.random.default_rng(3).standard_normal(96).astype(np.float32)
    y = ops.conv2d(x, kernel, bias, strides=4)
    assert y.shape == (1, 55, 55, 96)
    assert y.size == 290_400
    assert kernel.size + bias.size == 34_944
    # "W1 is a local window": the first two outputs of the notes, written as the notes write them.
    assert np.isclose(y[0, 0, 0, 0], np.sum(x[0, :11, :11, :] * kernel[..., 0]) + bias[0], rtol=1e-4)
    assert np.isclose(y[0, 1, 0, 1], np.sum(x[0, 4:15, :11, :] * kernel[..., 1]) + bias[1], rtol=1e-4)


def test_im2col_of_alexnets_first_layer() -> None:
    """Each patch is a row of 11 * 11 * 3 = 363 numbers, and there are 55 * 55 = 3,025 of them an image."""
    x = np.random.default_rng(4).standard_normal((2, 227, 227, 3)).astype(np.float32)
    cols = ops.im2col(x, 11, strides=4)
    assert cols.shape == (2 * 3_025, 363)
    assert np.array_equal(cols[3_025 + 56].reshape(11, 11, 3), x[1, 4:15, 4:15])
    kernel = np.random.default_rng(5).standard_normal((11, 11, 3, 96)).astype(np.float32)
    by_product = (cols @ kernel.reshape(363, 96)).reshape(2, 55, 55, 96)
    assert np.allclose(ops.conv2d(x, kernel, strides=4), by_product, atol=1e-3)


@pytest.mark.parametrize(("stride", "padding", "expected"), [(1, 0, 5), (2, 0, 3), (3, 0, 2), (1, 1, 7), (3, 1, 3)])
def test_seven_by_seven_with_three_by_three(stride: int, padding: int, expected: int) -> None:
    """(N - F) / stride + 1. Stride 3 does not fit (4 / 3 + 1 = 2.33): the floor, 2, and the last column is unseen."""
    x = np.arange(49.0).reshape(1, 7, 7, 1)
    y = ops.conv2d(x, np.ones((3, 3, 1, 1)), strides=stride, padding=padding)
    assert y.shape == (1, expected, expected, 1)
    if (stride, padding) == (3, 0):
        dx = ops.conv2d_backward_data(np.ones_like(y), np.ones((3, 3, 1, 1)), x.shape, strides=3)
        assert not dx[:, 6].any()
        assert not dx[:, :, 6].any()


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (7, 3)])
def test_padding_that_keeps_the_size(kernel: int, padding: int) -> None:
    """(F - 1) / 2 with stride 1; "same" chooses it."""
    assert conv2d_output_shape((1, 32, 32, 3), kernel, 10, padding=padding) == (1, 32, 32, 10)
    assert conv2d_output_shape((1, 32, 32, 3), kernel, 10, padding="same") == (1, 32, 32, 10)


def test_ten_five_by_five_filters() -> None:
    """32 x 32 x 3, ten 5 x 5 filters, stride 1, pad 2: 32 x 32 x 10; each has 5*5*3 + 1 = 76 parameters, 760."""
    layers = pytest.importorskip("fastconv.layers")
    layer = layers.Conv2D(10, 5, padding=2)
    layer.build((None, 32, 32, 3))
    assert layer.compute_output_shape((None, 32, 32, 3)) == (None, 32, 32, 10)
    assert layer.count_params() == 760
    assert ops.conv2d(np.zeros((1, 32, 32, 3)), np.zeros((5, 5, 3, 10)), padding=2).shape == (1, 32, 32, 10)


def test_without_padding_the_volume_shrinks() -> None:
    """32 -> 28 -> 24 under 5 x 5 filters."""
    x = np.zeros((1, 32, 32, 3))
    first = ops.conv2d(x, np.zeros((5, 5, 3, 6)))
    second = ops.conv2d(first, np.zeros((5, 5, 6, 10)))
    assert first.shape == (1, 28, 28, 6)
    assert second.shape == (1, 24, 24, 10)


def test_the_animated_demo() -> None:
    """5 x 5 x 3, two 3 x 3 filters, stride 2, pad 1: 3 x 3 x 2; each output a sum of 27 products and a bias."""
    rng = np.random.default_rng(6)
    x = rng.integers(0, 3, (1, 5, 5, 3)).astype(float)
    kernel, bias = rng.integers(-1, 2, (3, 3, 3, 2)).astype(float), np.array([1.0, 0.0])
    y = ops.conv2d(x, kernel, bias, strides=2, padding=1)
    assert y.shape == (1, 3, 3, 2)
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0)))
    for p, q, k in np.ndindex(3, 3, 2):
        assert y[0, p, q, k] == np.sum(padded[2 * p : 2 * p + 3, 2 * q : 2 * q + 3] * kernel[..., k]) + bias[k]


def test_one_by_one_convolution_mixes_channels() -> None:
    """56 x 56 x 64 with 32 filters 1 x 1: a 64-dimensional dot product at every pixel."""
    rng = np.random.default_rng(7)
    x, kernel = rng.standard_normal((1, 56, 56, 64)), rng.standard_normal((1, 1, 64, 32))
    assert np.allclose(ops.conv2d(x, kernel), x @ kernel[0, 0])


def test_a_dense_layer_as_a_convolution() -> None:
    """7 x 7 x 512 -> 4096: the weight matrix reshaped to 4096 filters of 7 x 7 gives the same numbers."""
    rng = np.random.default_rng(8)
    x = rng.standard_normal((1, 7, 7, 512)).astype(np.float32)
    weights = (rng.standard_normal((7 * 7 * 512, 4096)) / 158).astype(np.float32)
    dense = ops.dense(x.reshape(1, -1), weights)
    convolved = ops.conv2d(x, weights.reshape(7, 7, 512, 4096))
    assert convolved.shape == (1, 1, 1, 4096)
    assert np.allclose(convolved.ravel(), dense.ravel(), atol=1e-4)


def test_the_converted_network_slides() -> None:
    """On a larger image the converted layer evaluates the dense one at every position: 12 x 12 in gives 6 x 6."""
    rng = np.random.default_rng(9)
    x, weights = rng.standard_normal((1, 12, 12, 16)), rng.standard_normal((7 * 7 * 16, 10))
    everywhere = ops.conv2d(x, weights.reshape(7, 7, 16, 10))
    assert everywhere.shape == (1, 6, 6, 10)
    for p, q in np.ndindex(6, 6):
        crop = x[:, p : p + 7, q : q + 7].reshape(1, -1)
        assert np.allclose(everywhere[:, p, q], ops.dense(crop, weights))


def test_dilation() -> None:
    """A filter of size 3 on one axis computes w0*x0 + w1*x1 + w2*x2; with dilation 2: w0*x0 + w1*x2 + w2*x4."""
    x, w = np.array([1.0, 10, 100, 1000, 10000]).reshape(1, 1, 5, 1), np.array([1.0, 2, 3]).reshape(1, 3, 1, 1)
    assert ops.conv2d(x, w)[0, 0, 0, 0] == 321
    assert ops.conv2d(x, w, dilation_rate=(1, 2)).ravel().tolist() == [30201]


def test_two_dilated_layers_see_further() -> None:
    """Two 3 x 3 layers see 5 x 5; with dilation 2 in the second, 7 x 7: where a gradient reaches the input."""
    ones = np.ones((3, 3, 1, 1))
    for dilation, sees in [(1, 5), (2, 7)]:
        middle = ops.conv2d_backward_data(
            np.ones((1, 1, 1, 1)), ones, (1, sees - 2, sees - 2, 1), dilation_rate=dilation
        )
        assert ops.conv2d_backward_data(middle, ones, (1, sees, sees, 1)).all()


def test_the_vertical_edge_filter() -> None:
    """6 x 6, bright left half: [[1, 0, -1]] * 3 answers 30 along the edge and 0 elsewhere; horizontally, nothing."""
    image = np.zeros((1, 6, 6, 1))
    image[:, :, :3] = 10
    vertical = np.array([[1.0, 0, -1]] * 3)
    y = ops.conv2d(image, vertical.reshape(3, 3, 1, 1))[0, ..., 0]
    assert np.array_equal(y, [[0, 30, 30, 0]] * 4)
    assert not ops.conv2d(image, vertical.T.reshape(3, 3, 1, 1)).any()
    darkened = ops.conv2d(image[:, :, ::-1], vertical.reshape(3, 3, 1, 1))[0, ..., 0]
    assert np.array_equal(darkened, -y)  # light to dark and dark to light differ in sign


def test_pooling_of_the_notes() -> None:
    """The 4 x 4 example, 2 x 2 windows, stride 2: [[6, 8], [3, 4]]; 224 x 224 x 64 becomes 112 x 112 x 64."""
    x = np.array([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]).reshape(1, 4, 4, 1)
    y, argmax = ops.max_pool2d(x, 2)
    assert y[0, ..., 0].tolist() == [[6, 8], [3, 4]]
    assert argmax[0, ..., 0].tolist() == [[5, 7], [8, 15]]
    dx = ops.max_pool2d_backward(np.ones_like(y), argmax, x.shape)
    assert np.flatnonzero(dx).tolist() == [5, 7, 8, 15]
    assert ops.max_pool2d(np.zeros((1, 224, 224, 64), np.float32), 2)[0].shape == (1, 112, 112, 64)
    assert ops.max_pool2d(np.zeros((1, 55, 55, 96), np.float32), 3, 2)[0].shape == (1, 27, 27, 96)  # AlexNet


def test_three_small_filters_against_one_large() -> None:
    """Three 3 x 3 layers of C channels: 27 C**2 weights, one 7 x 7 layer: 49 C**2; both see 7 x 7."""
    c = 8
    three, one = 3 * np.zeros((3, 3, c, c)).size, np.zeros((7, 7, c, c)).size
    assert (three, one) == (27 * c**2, 49 * c**2)
    gradient = np.ones((1, 1, 1, 1))
    for size in (3, 5, 7):
        gradient = ops.conv2d_backward_data(gradient, np.ones((3, 3, 1, 1)), (1, size, size, 1))
    assert gradient.shape == (1, 7, 7, 1)
    assert gradient.all()


def test_vgg16_layer_by_layer() -> None:
    """The notes' table: sizes and 138,344,128 weights in all (biases not counted there)."""
    shape: tuple[int | None, ...] = (1, 224, 224, 3)
    weights = 0
    for block in [(64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3]:
        for filters in block:
            weights += 9 * int(shape[3] or 0) * filters
            shape = conv2d_output_shape(shape, 3, filters, padding=1)
        shape = (1, int(shape[1] or 0) // 2, int(shape[2] or 0) // 2, shape[3])
    assert shape == (1, 7, 7, 512)
    for units_in, units_out in [(7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)]:
        weights += units_in * units_out
    assert weights == 138_344_128
