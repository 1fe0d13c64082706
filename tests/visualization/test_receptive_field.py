"""Receptive fields against brute force: a NaN in one pixel of the image reaches exactly the outputs that see it."""

import numpy as np
import pytest
from graph_support import DTYPE, image, lay

import fastconv as fc
from fastconv import visualization
from fastconv.models import Model, Sequential


def chain(*stack, shape=(13, 11, 2)):
    return Sequential([image(*shape), *stack])


def two_branches():
    """Branches of different reach, padding by hand, dilation, channel groups, then a sum."""
    x = image(14, 12, 2)
    y = lay("Conv2D", 4, (3, 2), strides=(2, 1), padding=((1, 0), (0, 1)))(x)
    a = lay("DepthwiseConv2D", 3, padding="same", dilation_rate=2)(y)
    b = lay("SeparableConv2D", 4, (1, 5), padding="same")(y)
    y = lay("Concatenate")([a, lay("BatchNormalization")(b)])
    y = lay("LocalResponseNormalization")(lay("ReLU")(y))
    return Model(x, lay("MaxPool2D", 3, 2, ceil_mode=True)(y))


def hourglass():
    """Down and up again, with a shortcut: fields that differ from pixel to pixel."""
    x = image(20, 16, 1)
    y = lay("MaxPool2D", 2)(lay("Conv2D", 2, 3, padding="same")(x))
    y = lay("Conv2D", 3, 3, strides=2, padding="same")(y)
    y = lay("Conv2DTranspose", 2, 3, strides=2, padding="same")(y)
    y = lay("UpSampling2D", 2, interpolation="bilinear")(y)
    return Model(x, lay("Add")([y, lay("Conv2D", 2, 1)(x)]))


def gated():
    """Every pixel sees the whole image through the gate."""
    x = image(6, 5, 3)
    gate = lay("Dense", 3, activation="sigmoid")(lay("GlobalAvgPool2D", keepdims=True)(x))
    return Model(x, lay("Multiply")([lay("Conv2D", 3, 3, padding="same")(x), gate]))


def nested():
    inner = chain(lay("Conv2D", 3, 3, strides=2), lay("Conv2D", 2, (2, 3), padding="same"), shape=(11, 9, 3))
    x = image(11, 9, 3)
    return Model(x, lay("AvgPool2D", 2, 1)(inner(lay("ReLU")(x))))


MODELS = {
    "valid": lambda: chain(lay("Conv2D", 3, 3), lay("MaxPool2D", 2), lay("Conv2D", 2, (2, 3))),
    "same, stride 2 on odd sizes": lambda: chain(
        lay("Conv2D", 3, 3, strides=2, padding="same"), lay("Conv2D", 2, 5, strides=2, padding="same")
    ),
    "padding and cropping layers": lambda: chain(
        lay("ZeroPadding2D", ((2, 0), (1, 3))), lay("Conv2D", 2, 4, strides=3), lay("Cropping2D", ((1, 0), (0, 1)))
    ),
    "locally connected": lambda: chain(lay("LocallyConnected2D", 2, 3, strides=2), lay("Dense", 3)),
    "nearest": lambda: chain(lay("Conv2D", 2, 3), lay("UpSampling2D", (3, 2)), lay("Conv2D", 1, 2)),
    "transposed": lambda: chain(lay("Conv2DTranspose", 2, (4, 3), strides=(2, 3)), lay("Conv2D", 1, 2)),
    "transposed with gaps": lambda: chain(lay("Conv2DTranspose", 2, 3, strides=2, padding=1, output_padding=1)),
    "dense in between": lambda: chain(
        lay("Flatten"), lay("Dense", 12), lay("Reshape", (2, 3, 2)), lay("Conv2D", 1, 1), shape=(4, 5, 1)
    ),
    "branches": two_branches,
    "hourglass": hourglass,
    "gate": gated,
    "nested": nested,
}  # fmt: skip


def who_sees(model):
    """(output row, output column) -> boolean image of the pixels that reach it."""
    _, height, width, channels = model.input_shape
    rng = np.random.default_rng(0)
    base = rng.standard_normal((height, width, channels))
    batch = np.repeat(base[np.newaxis], height * width, axis=0).astype(DTYPE)
    for i in range(height * width):
        batch[i, i // width, i % width] = np.nan
    reached = np.isnan(model.predict_on_batch(batch)).any(axis=-1)  # (pixel, output row, output column)
    return np.moveaxis(reached.reshape(height, width, *reached.shape[1:]), (2, 3), (0, 1))


ENLARGING = {"nearest", "transposed", "transposed with gaps", "hourglass"}  # neighbours' fields differ in size


@pytest.mark.parametrize("name", sorted(MODELS.keys() - ENLARGING))
def test_every_output_pixel_sees_its_field_and_no_more(name):
    model = MODELS[name]()
    field = visualization.receptive_field(model, model.layers[-1].name)
    seen = who_sees(model)
    sizes = np.array(model.input_shape[1:3])
    for position in np.ndindex(seen.shape[:2]):
        pixels = np.argwhere(seen[position])
        first = np.array(field.offset) + np.array(position) * field.stride
        last = first + field.size - 1
        np.testing.assert_array_equal(pixels.min(axis=0), np.maximum(first, 0), err_msg=str(position))
        np.testing.assert_array_equal(pixels.max(axis=0), np.minimum(last, sizes - 1), err_msg=str(position))


@pytest.mark.parametrize("name", sorted(ENLARGING))
def test_what_is_drawn_is_what_a_pixel_sees_where_fields_differ(name):
    model = MODELS[name]()
    layer = model.layers[-1].name
    field = visualization.receptive_field(model, layer)
    seen = who_sees(model)
    sizes = np.array(model.input_shape[1:3])
    widest = np.zeros(2, int)
    for position in np.ndindex(seen.shape[:2]):
        pixels = np.argwhere(seen[position])
        got = pixels.min(axis=0), pixels.max(axis=0)
        widest = np.maximum(widest, got[1] - got[0] + 1)
        if sum(position) % 13 == 0:  # a drawing takes time
            (ax,) = visualization.plot_receptive_field(model, layer, position=position).axes
            (frame,) = [patch for patch in ax.patches if patch.get_linewidth() > 2]
            first = np.array([frame.get_y(), frame.get_x()]) + 0.5
            last = first + np.array([frame.get_height(), frame.get_width()]) - 1
            np.testing.assert_array_equal(got[0], np.maximum(first, 0), err_msg=str(position))
            np.testing.assert_array_equal(got[1], np.minimum(last, sizes - 1), err_msg=str(position))
    np.testing.assert_array_equal(widest, np.minimum(field.size, sizes))


def test_unpooling_reaches_no_further_than_its_field():
    x = image(8, 8, 1)
    y, argmax = lay("MaxPool2D", 2, return_argmax=True)(x)
    model = Model(x, lay("Conv2D", 1, 3, name="last")(lay("MaxUnpool2D", 2)([y, argmax])))
    field = visualization.receptive_field(model, "last")
    assert field.size == (4, 4)
    rng = np.random.default_rng(0)
    reached = np.zeros((8, 8, 6, 6), bool)
    for _ in range(20):
        base = rng.standard_normal((1, 8, 8, 1))
        before = model.predict_on_batch(base)
        for i, j in np.ndindex(8, 8):
            changed = base.copy()
            changed[0, i, j] += 5
            reached[i, j] |= (model.predict_on_batch(changed) != before)[0, :, :, 0]
    for i, j in np.ndindex(6, 6):
        rows, columns = reached[:, :, i, j].nonzero()
        for pixels, k in ((rows, i), (columns, j)):  # windows of 2 that the pixels k to k + 2 lie in
            assert (pixels.min(), pixels.max()) == (k // 2 * 2, (k + 2) // 2 * 2 + 1)


# Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill (2019), table 1.
@pytest.mark.parametrize(
    ("network", "layer", "size", "stride"),
    [("VGG16", "block5_pool", 212, 32), ("ResNet50", "conv5_block3_out", 483, 32), ("MobileNet", -1, 315, 32)],
)
def test_fields_of_known_networks(network, layer, size, stride):
    model = getattr(fc.applications, network)(include_top=False, input_shape=(224, 224, 3))
    field = visualization.receptive_field(model, model.layers[layer] if isinstance(layer, int) else layer)
    assert (field.size, field.stride) == ((size, size), (stride, stride))


def test_layers_of_nested_models_by_path_and_by_object():
    model = nested()
    inner = model.layers[2]
    name = inner.layers[0].name
    expected = ((3, 3), (2, 2), (0, 0))
    assert visualization.receptive_field(model, f"{inner.name}/{name}") == expected
    assert visualization.receptive_field(model, inner.layers[0]) == expected
    assert visualization.receptive_field(model, inner.name) == ((5, 7), (2, 2), (0, -2))


def test_sizes_that_are_not_known():
    model = chain(lay("Conv2D", 2, 3, padding="same", name="a"), lay("Conv2D", 2, 3, 2, "same", name="b"),
                  shape=(None, None, 1))  # fmt: skip
    assert visualization.receptive_field(model, "a") == ((3, 3), (1, 1), (-1, -1))
    with pytest.raises(ValueError, match=r'"b": "same" padding with stride 2 .* give input_shape'):
        visualization.receptive_field(model, "b")
    assert visualization.receptive_field(model, "b", (8, 7, 1)) == ((5, 5), (2, 2), (-1, -2))
    with pytest.raises(ValueError, match="give image or input_shape"):
        visualization.plot_receptive_field(model, "a")
    figure = visualization.plot_receptive_field(model, "b", image=np.zeros((8, 7, 1)))
    assert "the image has 8 x 7" in figure.axes[0].get_title()


def test_arguments_that_do_not_fit():
    model = fc.Sequential([fc.Input((8, 8, 1)), fc.layers.Conv2D(2, 3, name="a"), fc.layers.Flatten(name="flat")])
    with pytest.raises(ValueError, match=r'"flat" has output shape \(None, 72\), without height and width'):
        visualization.receptive_field(model, "flat")
    with pytest.raises(ValueError, match=r'no layer "b".* there are: .*a, flat'):
        visualization.receptive_field(model, "b")
    with pytest.raises(ValueError, match=r"position \(6, 0\) is outside the output of 6 x 6"):
        visualization.plot_receptive_field(model, "a", position=(6, 0))
    with pytest.raises(ValueError, match=r"needs? a model with one input \(N, H, W, C\)"):
        visualization.receptive_field(fc.Sequential([fc.Input((4,)), fc.layers.Dense(2, name="d")]), "d")

    class Own(fc.layers.Layer):
        def forward(self, x, training=False):
            return x[:, ::-1], None

        def compute_output_shape(self, input_shape):
            return input_shape

    model = fc.Sequential([fc.Input((8, 8, 1)), Own(name="own")])
    with pytest.raises(TypeError, match='Own "own" is not known: it has no kernel_size'):
        visualization.receptive_field(model, "own")
