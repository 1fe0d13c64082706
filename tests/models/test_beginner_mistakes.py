"""What a student gets wrong first, and whether the message says what to do."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import layers


class OutputOnly(layers.Layer):
    """forward without a cache."""

    def forward(self, x, training=False):
        return x * 2


class NoGradient(layers.Layer):
    """backward that returns nothing."""

    def forward(self, x, training=False):
        return x, None

    def backward(self, dy, cache):
        pass


def classifier(*between: layers.Layer, last: str | None = "softmax") -> fc.Sequential:
    return fc.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(3, 3), *between, layers.Dense(4, activation=last)])


X = np.random.default_rng(0).random((5, 6, 6, 1), dtype=np.float32)
Y = np.array([0, 1, 2, 3, 0])


def test_forward_without_a_cache() -> None:
    with pytest.raises(TypeError, match=r"OutputOnly.forward must return two things, the output and a cache"):
        fc.Sequential([OutputOnly(input_shape=(3, 3, 1))])
    with pytest.raises(TypeError, match=r"returned one ndarray of shape \(3, 3, 3, 1\)"):
        OutputOnly()(np.ones((3, 3, 3, 1), np.float32))


def test_backward_without_a_result() -> None:
    model = classifier(NoGradient(), layers.Flatten())
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match=r"NoGradient.*backward returned None.*return dx"):
        model.train_on_batch(X, Y)
    first = fc.Sequential([NoGradient(input_shape=(6, 6, 1)), layers.Flatten(), layers.Dense(4, activation="softmax")])
    first.compile("sgd", "sparse_categorical_crossentropy")
    first.train_on_batch(X, Y)  # nobody needs the gradient for the model's input


def test_metrics_in_the_place_of_loss_weights() -> None:
    model = classifier(layers.Flatten())
    with pytest.raises(TypeError, match="third argument of compile is loss_weights"):
        model.compile("adam", "mse", ["accuracy"])
    with pytest.raises(RuntimeError, match="compile"):
        model.fit(X, Y)


def test_a_failed_compile_changes_nothing() -> None:
    model = classifier(layers.Flatten())
    model.compile("adam", "sparse_categorical_crossentropy")
    optimizer = model.optimizer
    with pytest.raises(ValueError, match="loss_weights"):
        model.compile("sgd", "mse", loss_weights={"nobody": 1.0})
    assert model.optimizer is optimizer
    model.train_on_batch(X, Y)


def test_a_single_callback() -> None:
    seen = []
    model = classifier(layers.Flatten())
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(
        X, Y, callbacks=fc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch)), verbose=0
    )
    assert seen == [0]
    with pytest.raises(TypeError, match=r"call it, EarlyStopping\(\.\.\.\)"):
        model.fit(X, Y, callbacks=[fc.callbacks.EarlyStopping], verbose=0)


@pytest.mark.parametrize(
    ("loss", "y"), [("sparse_categorical_crossentropy", Y), ("categorical_crossentropy", np.eye(4)[Y])]
)
def test_dense_without_flatten(loss: str, y: np.ndarray) -> None:
    model = classifier()
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match="a Flatten or GlobalAvgPool2D before the Dense layers is missing"):
        model.train_on_batch(X, y)


def test_predictions_that_are_no_probabilities() -> None:
    model = classifier(layers.Flatten(), last=None)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.warns(RuntimeWarning, match=r"not probabilities.*softmax.*from_logits"):
        model.test_on_batch(X, Y)


def test_misspelt_names() -> None:
    with pytest.raises(ValueError, match="did you mean 'adam'"):
        classifier(layers.Flatten()).compile("addam", "mse")
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        layers.Conv2D(3, 3, activation="rulu")


def test_misspelt_arguments() -> None:
    with pytest.raises(TypeError, match=r"Conv2D has no argument 'stride' .did you mean 'strides'"):
        layers.Conv2D(3, 3, stride=2)
    with pytest.raises(TypeError, match=r"Dense has no argument 'activaton' .did you mean 'activation'"):
        layers.Dense(3, activaton="relu")


def test_a_layer_that_does_not_call_its_base() -> None:
    class Orphan(layers.Layer):
        def __init__(self):
            self.factor = 2

    with pytest.raises(AttributeError, match=r"must call super\(\).__init__\(\)"):
        fc.Sequential([layers.Input((3,)), Orphan()])


def test_labels_counted_from_one() -> None:
    model = classifier(layers.Flatten())
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"from 1 to 4: count them from 0, or give the last layer 5 units"):
        model.train_on_batch(X, np.array([1, 2, 3, 4, 1]))


def test_a_gradcheck_of_dead_units_does_not_pass() -> None:
    class Off(layers.Layer):
        def forward(self, x, training=False):
            return x * 0, None

        def backward(self, dy, cache):
            return dy * 0

    report = fc.testing.gradcheck(Off(), (4, 3, 2))
    assert not report
    assert "nothing was tested" in str(report)


class WritesForward(layers.Layer):
    """forward that changes its input."""

    def forward(self, x, training=False):
        x *= 2
        return x, None

    def backward(self, dy, cache):
        return dy * 2


class WritesBackward(layers.Layer):
    """backward that changes the gradient it is given."""

    def forward(self, x, training=False):
        return x * 2, None

    def backward(self, dy, cache):
        dy *= 2
        return dy


@pytest.mark.parametrize("layer", [WritesForward, WritesBackward])
def test_a_layer_that_writes_into_what_it_is_given(layer: type[layers.Layer]) -> None:
    model = classifier(layer(), layers.Flatten())
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="read-only") as error:
        model.train_on_batch(X, Y)
    assert layer.__name__ in error.value.__notes__[0]


def test_predict_leaves_the_users_array_alone() -> None:
    model = fc.Sequential([WritesForward(input_shape=(6, 6, 1))])
    x = X.copy()
    with pytest.raises(ValueError, match="read-only"):
        model.predict(x, verbose=0)
    assert np.array_equal(x, X)


HINT = r"looks like \(N, C, H, W\).*nchw_to_nhwc"


def test_channels_first_arrays_get_the_function_that_turns_them():
    x = np.zeros((2, 3, 8, 9), np.float32)  # (N, C, H, W)
    kernel = np.zeros((5, 5, 3, 4), np.float32)  # larger than the 3 "rows": the channels are what is wrong first
    for call in (
        lambda: fc.ops.conv2d(x, kernel),
        lambda: fc.ops.depthwise_conv2d(x, kernel),
        lambda: fc.ops.conv2d_transpose(x, np.zeros((2, 2, 4, 3), np.float32)),
        lambda: fc.Sequential([layers.Input((8, 9, 3)), layers.Flatten()]).predict(x),
    ):
        with pytest.raises(ValueError, match=HINT):
            call()
    for layer in (layers.Conv2D(4, 2), layers.DepthwiseConv2D(2)):
        layer(np.transpose(x, (0, 2, 3, 1)))
        with pytest.raises(ValueError, match=HINT):
            layer(x)
    assert fc.ops.conv2d(fc.utils.nchw_to_nhwc(x), kernel).shape == (2, 4, 5, 4)


def test_other_channel_mismatches_get_no_such_hint():
    with pytest.raises(ValueError, match=r"3 input channels, but the input of shape .* has 9$"):
        fc.ops.conv2d(np.zeros((2, 8, 8, 9), np.float32), np.zeros((5, 5, 3, 4), np.float32))


@pytest.mark.parametrize(
    ("module", "name", "meant"),
    [
        (fc.layers, "Con2D", "Conv2D"),
        (fc.layers, "MaxPool2d", "MaxPool2D"),
        (fc.layers, "batchnormalization", "BatchNormalization"),
        (fc.ops, "conv2", "conv2d"),
        (fc.ops, "Softmax", "softmax"),
        (fc.losses, "MeanSquareError", "MeanSquaredError"),
        (fc.optimizers, "adam", "Adam"),
        (fc.datasets, "minst", "mnist"),
        (fc.utils, "to_categoric", "to_categorical"),
        (fc, "layer", "layers"),
        (fc, "Sequental", "Sequential"),
    ],
)
def test_misspelt_names_on_modules(module, name, meant):
    with pytest.raises(AttributeError, match=rf"{module.__name__}' has no attribute '{name}' \(did you mean '{meant}'"):
        getattr(module, name)


def test_names_that_are_like_nothing():
    with pytest.raises(AttributeError, match=r"has no attribute 'Transformer'$"):
        _ = fc.layers.Transformer
    assert not hasattr(fc.layers, "__wrapped__")
