"""gradcheck as a grader: no wrong backward passes, no right one fails, and the report says where."""

import numpy as np
import pytest

from fastconv import layers, ops
from fastconv.models import Input, Model, Sequential
from fastconv.testing import gradcheck

RIGHT = [
    (layers.Conv2D(4, 3, activation="relu"), (7, 6, 3)),
    (layers.Conv2D(4, (2, 3), strides=2, padding="same", activation="elu"), (7, 6, 3)),
    (layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 5, 3)),
    (layers.Conv2DTranspose(3, 3, strides=2), (4, 3, 2)),
    (layers.MaxPool2D(3, strides=2), (8, 7, 3)),
    (layers.AvgPool2D(2, padding="same"), (5, 5, 3)),
    (layers.BatchNormalization(), (5, 6, 3)),
    (layers.LocalResponseNormalization(), (3, 4, 7)),
    (layers.Dense(5, activation="softmax"), (4,)),
    (layers.ReLU(), (40,)),
    (layers.Rescaling(1 / 255), (4,)),
    (layers.Dropout(0.4), (30,)),
    (layers.SpatialDropout2D(0.4), (4, 3, 8)),
    (layers.Add(), [(3,), (3,)]),
    (layers.Multiply(), [(3,), (3,)]),
    (layers.Concatenate(), [(3,), (5,)]),
]


@pytest.mark.parametrize(("layer", "shape"), RIGHT, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_right_layers_pass(layer, shape, seed):
    report = gradcheck(layer, shape, seed=seed)
    assert report.passed, report
    assert all(t.checked and t.skipped <= 0.2 * (t.checked + t.skipped) for t in report.tensors), report


def test_integer_inputs_and_outputs_are_passed_on():
    assert gradcheck(layers.MaxPool2D(2, return_argmax=True), (4, 6, 3))
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3))
    y, argmax = ops.max_pool2d(x, 2)
    report = gradcheck(layers.MaxUnpool2D(2), inputs=[y, argmax])
    assert report, report
    assert [t.name for t in report.tensors] == ["input 0"]


def test_inference_mode():
    assert gradcheck(layers.BatchNormalization(), (4, 4, 2), training=False)


def _network():
    return Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(9, 8, 2), kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.MaxPool2D(2),
            layers.Conv2D(3, 2, activation="relu"),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def test_model():
    model = _network()
    before = model.get_weights()
    report = gradcheck(model, (9, 8, 2), batch_size=3)
    assert report, report
    assert {t.name for t in report.tensors} >= {"input", "conv2d/kernel", "dense/bias", "batch_normalization/gamma"}
    assert model.dtype == "float32"
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_model_with_two_inputs_a_shared_layer_and_two_outputs():
    a, b = Input((4,)), Input((4,))
    shared = layers.Dense(3, activation="tanh")
    merged = layers.Multiply()([shared(a), shared(b)])
    model = Model([a, b], [layers.Dense(2)(merged), merged])
    report = gradcheck(model)
    assert report, report


def test_frozen_layers_have_no_report():
    model = _network()
    model.layers[0].trainable = False
    assert "conv2d/kernel" not in {t.name for t in gradcheck(model).tensors}


class Scale(layers.Layer):
    """A right layer, to be broken by its subclasses."""

    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")

    def forward(self, x, training=False):
        return x * self.gamma.value, (x,)

    def backward(self, dy, cache):
        (x,) = cache
        self.gamma.add_grad(self.dgamma(dy, x))
        return self.dx(dy, x)

    def dgamma(self, dy, x):
        return (dy * x).sum(axis=tuple(range(x.ndim - 1)))

    def dx(self, dy, x):
        return dy * self.gamma.value


class ForgetsGamma(Scale):
    def backward(self, dy, cache):
        return dy * self.gamma.value


class ForgetsInput(Scale):
    def dx(self, dy, x):
        return None


class WrongSign(Scale):
    def dx(self, dy, x):
        return -dy * self.gamma.value


class OffByAThousandth(Scale):
    def dgamma(self, dy, x):
        return 1.001 * super().dgamma(dy, x)


class OffByAHundredThousandth(Scale):
    def dx(self, dy, x):
        return super().dx(dy, x) * (1 + 1e-5)


class OneWrongElement(Scale):
    def dx(self, dy, x):
        dx = super().dx(dy, x)
        dx[-1, -1, -1, -1] += 0.01
        return dx


class MeanInPlaceOfSum(Scale):
    def dgamma(self, dy, x):
        return (dy * x).mean(axis=(0, 1, 2))


class WrongShape(Scale):
    def dgamma(self, dy, x):
        return super().dgamma(dy, x)

    def dx(self, dy, x):
        return super().dx(dy, x)[:1]


class WrongDtype(Scale):
    def dx(self, dy, x):
        return super().dx(dy, x).astype(np.float32)


class AssumesGammaOne(Scale):
    def dx(self, dy, x):
        return dy.copy()


class LeakyInBackward(layers.Layer):
    def forward(self, x, training=False):
        return np.maximum(x, 0), (x,)

    def backward(self, dy, cache):
        return dy * np.where(cache[0] > 0, 1, 0.01)


class NanInBackward(Scale):
    def dx(self, dy, x):
        return dy * np.nan


class ConvWithoutFlip(layers.Layer):
    """A 3x3 correlation on one channel that forgets to flip the kernel in backward."""

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (3, 3, 1, 1))

    def forward(self, x, training=False):
        return ops.conv2d(x, self.kernel.value, padding="same"), (x,)

    def backward(self, dy, cache):
        dkernel, _ = ops.conv2d_backward_weights(cache[0], dy, (3, 3), padding="same")
        self.kernel.add_grad(dkernel)
        return ops.conv2d(dy, self.kernel.value, padding="same")


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (ForgetsGamma, "gamma"),
        (ForgetsInput, "input"),
        (WrongSign, "input"),
        (OffByAThousandth, "gamma"),
        (OffByAHundredThousandth, "input"),
        (OneWrongElement, "input"),
        (MeanInPlaceOfSum, "gamma"),
        (WrongShape, "input"),
        (WrongDtype, "input"),
        (AssumesGammaOne, "input"),
        (NanInBackward, "input"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wrong_layers_fail_where_they_are_wrong(kind, wrong, seed):
    report = gradcheck(kind(), (6, 7, 5), seed=seed, elements=30)
    assert [t.name for t in report.tensors if not t.passed] == [wrong], report
    assert not report
    assert "FAILED" in str(report)
    with pytest.raises(AssertionError, match="WRONG"):
        report.raise_if_failed()


def test_right_twin_of_the_wrong_layers_passes():
    assert gradcheck(Scale(), (6, 7, 5), elements=30)


def test_more_wrong_layers():
    assert not gradcheck(LeakyInBackward(), (20,), batch_size=3)
    report = gradcheck(ConvWithoutFlip(), (5, 6, 1))
    assert [t.name for t in report.tensors if not t.passed] == ["input"], report


def test_the_report_names_the_worst_element():
    report = gradcheck(OneWrongElement(), (3, 4, 5), elements=10)
    worst = report["input"]
    assert worst.worst == (1, 2, 3, 4)
    assert worst.got - worst.expected == pytest.approx(0.01, rel=1e-3)
    assert worst.error == pytest.approx(0.01, rel=1e-3)
    assert "[1, 2, 3, 4]" in str(report)
    with pytest.raises(KeyError, match="input"):
        report["output"]


def test_kinks_are_skipped_and_counted():
    x = np.linspace(-1, 1, 21).reshape(1, 21)  # an exact 0 in the middle
    report = gradcheck(layers.ReLU(), inputs=x)
    assert report, report
    assert (report["input"].skipped, report["input"].checked) == (1, 20), report


def test_kinks_within_the_first_step_are_told_from_the_centre():
    distances = 1e-4 * np.array([0.999, 0.7, 0.5, 1 / 3, 0.2, 0.1])  # at a third one of the two rules is blind
    report = gradcheck(layers.ReLU(), inputs=np.stack([distances, -distances]))
    assert report, report
    assert report["input"].checked == 12, report


def test_nothing_to_compare_is_not_a_pass():
    report = gradcheck(layers.ReLU(), inputs=np.zeros((2, 3)))
    assert not report
    assert "kink" in str(report)


def test_a_kink_does_not_hide_a_wrong_gradient():
    x = np.linspace(-1, 1, 21).reshape(1, 21)
    assert not gradcheck(LeakyInBackward(), inputs=x)


def test_backward_may_not_write_to_dy_or_inputs():
    class Writes(Scale):
        def dx(self, dy, x):
            dy *= self.gamma.value
            return dy

    with pytest.raises(ValueError, match="read-only"):
        gradcheck(Writes(), (3,))


def test_forward_must_be_deterministic_and_finite():
    class Noisy(Scale):
        def forward(self, x, training=False):
            return x + np.random.default_rng().normal(size=x.shape), (x,)

    class Infinite(Scale):
        def forward(self, x, training=False):
            return x / 0.0, (x,)

    with pytest.raises(ValueError, match="another output"):
        gradcheck(Noisy(), (3,))
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="not finite"):
        gradcheck(Infinite(), (3,))


def test_constructor_without_get_config_is_explained():
    class Power(layers.Layer):
        def __init__(self, exponent, **kwargs):
            super().__init__(**kwargs)
            self.exponent = exponent

        def forward(self, x, training=False):
            return x**self.exponent, (x,)

        def backward(self, dy, cache):
            return dy * self.exponent * cache[0] ** (self.exponent - 1)

    class Configured(Power):
        config_fields = ("exponent",)

    with pytest.raises(NotImplementedError, match="exponent"):
        gradcheck(Power(3), (3,))
    assert gradcheck(Configured(3), (3,))


def test_shapes():
    assert gradcheck(layers.Dense(2), (None, 3))["input"].shape == (2, 3)
    assert gradcheck(layers.Dense(2), (3,), batch_size=4)["input"].shape == (4, 3)
    for shape in ((0,), (2.5,), (None, None, 3)):
        with pytest.raises(ValueError, match="input_shape"):
            gradcheck(layers.Dense(2), shape)
    with pytest.raises(ValueError, match="input_shape"):
        gradcheck(layers.Dense(2))


def test_result_is_reproducible():
    assert str(gradcheck(layers.Dense(4), (3,))) == str(gradcheck(layers.Dense(4), (3,)))
