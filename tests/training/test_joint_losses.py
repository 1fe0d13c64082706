"""One loss of all outputs, and targets of another size for every sample, carried through training untouched."""

import numpy as np
import pytest
from training_support import weights_equal

from fastconv import data, layers, losses, optimizers
from fastconv.models import Input, Model
from fastconv.utils import set_random_seed

RNG = np.random.default_rng(3)
X = RNG.standard_normal((20, 6)).astype(np.float32)


def two_outputs():
    set_random_seed(2)
    x = Input((6,))
    hidden = layers.Dense(5, activation="tanh")(x)
    return Model(x, [layers.Dense(4, name="boxes")(hidden), layers.Dense(1, name="scores")(hidden)])


class SumOfSquares(losses.JointLoss):
    """The two mean squared errors, added."""

    def forward(self, y_true, y_pred):
        errors = [p - t for t, p in zip(y_true, y_pred, strict=True)]
        return sum(float((e**2).mean(axis=-1).mean()) for e in errors), errors

    def backward(self, cache):
        return [2 * e / e.size for e in cache]


def test_is_what_two_losses_are():
    y = [RNG.standard_normal((20, 4)).astype(np.float32), RNG.standard_normal((20, 1)).astype(np.float32)]
    joint, separate = two_outputs(), two_outputs()
    joint.compile("sgd", loss=SumOfSquares())
    separate.compile("sgd", loss="mse")
    history = joint.fit(X, y, epochs=3, batch_size=8, verbose=0, shuffle=False).history
    other = separate.fit(X, y, epochs=3, batch_size=8, verbose=0, shuffle=False).history
    assert list(history) == ["loss"]
    np.testing.assert_allclose(history["loss"], other["loss"], rtol=1e-5)
    for a, b in zip(joint.get_weights(), separate.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert joint.evaluate(X, y, verbose=0) == pytest.approx(separate.evaluate(X, y, verbose=0)[0], rel=1e-5)


class Nearest(losses.JointLoss):
    """The mean squared distance of the predicted box to the nearest box in the image; images may have none."""

    def __init__(self):
        self.seen = []

    def forward(self, y_true, y_pred):
        boxes, images = y_true
        self.seen.append((boxes, images))
        errors = np.zeros_like(y_pred[0])
        for i, of_image in enumerate(boxes):
            if len(of_image):
                distance = ((of_image - y_pred[0][i]) ** 2).sum(axis=1)
                errors[i] = y_pred[0][i] - of_image[distance.argmin()]
        return float((errors**2).mean()), errors

    def backward(self, cache):
        return [2 * cache / cache.size, None]


def boxes_of(numbers):
    """For image i, i % 4 boxes that say which image they are in."""
    return [np.full((i % 4, 4), float(i), np.float32) for i in numbers]


@pytest.mark.parametrize("split", [0.0, 0.25])
def test_ragged_targets_stay_with_their_images(split):
    model, loss, numbers = two_outputs(), Nearest(), np.arange(20)
    model.compile("sgd", loss=loss)
    model.fit(X, [data.ragged(boxes_of(numbers)), numbers], epochs=2, batch_size=8, validation_split=split, verbose=0)
    assert list(loss.seen[0][1]) != sorted(loss.seen[0][1])  # shuffled
    for boxes, images in loss.seen:
        assert len(boxes) == len(images)
        for box, image in zip(boxes, images, strict=True):
            np.testing.assert_array_equal(box, np.full((image % 4, 4), image))


def test_ragged_targets_train_a_model():
    model, loss, numbers = two_outputs(), Nearest(), np.arange(20)
    model.compile(optimizers.Adam(0.05), loss=loss)
    y = [data.ragged([b + 1 - b for b in boxes_of(numbers)]), numbers]
    history = model.fit(X, y, epochs=40, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


def test_ragged_targets_of_a_generator():
    model, loss = two_outputs(), Nearest()
    model.compile("sgd", loss=loss)

    def batches():
        for start in (0, 10):
            numbers = np.arange(start, start + 10)
            yield X[start : start + 10], (data.ragged(boxes_of(numbers)), numbers)

    model.fit(batches(), epochs=1, verbose=0)
    assert [len(images) for _, images in loss.seen] == [10, 10]


def test_ragged_targets_of_one_output_and_a_loss_of_ones_own():
    class PerImage:
        def forward(self, y_true, y_pred):
            assert [len(t) for t in y_true] == [int(t[0]) for t in y_true]
            errors = np.array([[p[0] - t.mean()] for t, p in zip(y_true, y_pred, strict=True)], y_pred.dtype)
            return float((errors**2).mean()), errors

        def backward(self, cache):
            return 2 * cache / cache.size

    x = Input((6,))
    model = Model(x, layers.Dense(1)(x))
    model.compile("sgd", loss=PerImage())
    sizes = RNG.integers(1, 5, 20)
    model.fit(X, data.ragged([np.full(n, float(n)) for n in sizes]), epochs=2, batch_size=6, verbose=0)


def test_metrics_get_all_targets_and_all_outputs():
    def images_in(y_true, y_pred):
        (boxes, images), (predicted, scores) = y_true, y_pred
        assert len(boxes) == len(images) == len(predicted) == len(scores)
        return [float(len(b)) for b in boxes]

    model = two_outputs()
    model.compile("sgd", loss=Nearest(), metrics=[images_in])
    y = [data.ragged(boxes_of(range(20))), np.arange(20)]
    assert model.evaluate(X, y, batch_size=8, verbose=0, return_dict=True)["images_in"] == 1.5


def test_nothing_learns_from_an_output_without_a_gradient():
    """Not even weight decay, which a gradient of zeros would bring."""
    model = two_outputs()
    model.compile(optimizers.AdamW(weight_decay=0.1), loss=Nearest())
    before = model.get_layer("scores").get_weights()
    model.fit(X, [data.ragged(boxes_of(range(20))), np.arange(20)], verbose=0)
    for a, b in zip(before, model.get_layer("scores").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_saved_and_loaded(tmp_path):
    from fastconv.models import load_model

    model = two_outputs()
    model.compile("sgd", loss=SumOfSquares())
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", custom_objects={"SumOfSquares": SumOfSquares})
    y = [np.zeros((20, 4), np.float32), np.zeros((20, 1), np.float32)]
    for one in (model, again):
        one.train_on_batch(X, y)
    assert weights_equal(model, again)


class Wrong(SumOfSquares):
    def __init__(self, gradients):
        self.gradients = gradients

    def backward(self, cache):
        return self.gradients


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_weights": [1, 2]}, "one loss for all outputs"),
        ({"metrics": {"boxes": "mse"}}, "give a list"),
        ({"loss": Wrong([np.zeros((20, 4))])}, r"shapes \[\(20, 4\)\] for outputs of shapes \[\(20, 4\), \(20, 1\)\]"),
        ({"loss": Wrong([np.zeros((20, 4)), np.zeros(20)])}, r"\(20,\)\]"),
    ],
)
def test_what_does_not_fit(options, message):
    model = two_outputs()
    y = [np.zeros((20, 4), np.float32), np.zeros((20, 1), np.float32)]

    def train():
        model.compile(**{"optimizer": "sgd", "loss": SumOfSquares(), **options})
        model.train_on_batch(X, y)

    with pytest.raises(ValueError, match=message):
        train()


def test_a_list_of_arrays_of_different_sizes_is_told_of_ragged():
    model = two_outputs()
    model.compile("sgd", loss=Nearest())
    with pytest.raises(ValueError, match=r"fastconv\.data\.ragged"):
        model.fit(X, [boxes_of(range(20)), np.arange(20)], verbose=0)


def test_as_many_targets_as_samples():
    model = two_outputs()
    model.compile("sgd", loss=Nearest())
    with pytest.raises(ValueError, match="same number of samples"):
        model.fit(X, [data.ragged(boxes_of(range(19))), np.arange(20)], verbose=0)


@pytest.mark.parametrize("batch_size", [3, 7, 8, 20])
def test_the_mean_of_a_function_counts_samples_not_outputs(batch_size):
    """The last batch is smaller, and its boxes are not those of the others."""

    def boxes_in(y_true, y_pred):
        return [float(len(b)) for b in y_true[0]]

    model = two_outputs()
    model.compile("sgd", loss=Nearest(), metrics=[boxes_in])
    boxes = [np.zeros((i, 4), np.float32) for i in range(20)]
    results = model.evaluate(X, [data.ragged(boxes), np.arange(20)], batch_size=batch_size, verbose=0)
    assert results[1] == pytest.approx(9.5)


def test_a_joint_loss_by_its_name():
    from fastconv.utils import custom_object_scope

    y = [np.zeros((20, 4), np.float32), np.zeros((20, 1), np.float32)]
    named, given = two_outputs(), two_outputs()
    given.compile("sgd", loss=SumOfSquares())
    with custom_object_scope({"sum_of_squares": SumOfSquares}):
        named.compile("sgd", loss="sum_of_squares")
        for one in (named, given):
            one.train_on_batch(X, y)
    assert named.metrics_names == ["loss"]
    assert weights_equal(named, given)
