"""Metrics that keep state from batch to batch: right for any batch size, and apart for every pass over data."""

import numpy as np
import pytest
from training_support import blobs, compiled

from fastconv import callbacks, layers, metrics
from fastconv.models import Sequential, load_model

CLASSES = 3
X, LABELS = blobs(n=50, classes=CLASSES)


class MeanIoU(metrics.Metric):
    """Intersection over union of the predicted and true samples of a class, the mean of the classes."""

    def __init__(self, classes=CLASSES, name=None):
        super().__init__(name)
        self.classes = classes
        self.reset()

    def reset(self):
        self.matrix = np.zeros((self.classes, self.classes), int)

    def update(self, y_true, y_pred):
        np.add.at(self.matrix, (np.asarray(y_true), y_pred.argmax(axis=-1)), 1)

    def result(self):
        hits = np.diag(self.matrix)
        unions = self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - hits
        return float((hits / np.maximum(unions, 1))[unions > 0].mean())

    def get_config(self):
        return {"classes": self.classes, **super().get_config()}


def expected(model, x, labels):
    """The same from all predictions at once, by sets."""
    predicted = model.predict(x, verbose=0).argmax(axis=1)
    ratios = []
    for k in range(CLASSES):
        union = (predicted == k) | (labels == k)
        if union.any():
            ratios.append(((predicted == k) & (labels == k)).sum() / union.sum())
    return np.mean(ratios)


@pytest.mark.parametrize("batch_size", [1, 7, 32, 50, 64])
def test_evaluate_is_right_for_every_batch_size(batch_size):
    model = compiled(metrics=[MeanIoU()])
    model.fit(X, LABELS, epochs=1, verbose=0)
    _, value = model.evaluate(X, LABELS, batch_size=batch_size, verbose=0)
    assert value == pytest.approx(expected(model, X, LABELS), abs=1e-12)
    assert 0 < value < 1


def test_the_mean_of_batches_would_be_another_number():
    model = compiled(metrics=[MeanIoU()])
    model.fit(X, LABELS, epochs=1, verbose=0)
    each = [model.test_on_batch(X[i : i + 7], LABELS[i : i + 7])[1] for i in range(0, 50, 7)]
    assert each == pytest.approx([expected(model, X[i : i + 7], LABELS[i : i + 7]) for i in range(0, 50, 7)])
    assert np.mean(each) != pytest.approx(expected(model, X, LABELS), abs=1e-3)


def test_epochs_validation_and_evaluate_have_a_state_each():
    metric = MeanIoU()
    model = compiled(metrics=[metric, "accuracy"])
    seen = []

    class Evaluates(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.evaluate(X, LABELS, verbose=0)[1])

    history = model.fit(
        X, LABELS, epochs=3, verbose=0, validation_data=(X[:20], LABELS[:20]), callbacks=Evaluates(), shuffle=False
    ).history
    plain = compiled(metrics=[MeanIoU(), "accuracy"]).fit(
        X, LABELS, epochs=3, verbose=0, validation_data=(X[:20], LABELS[:20]), shuffle=False
    )
    assert history == plain.history
    assert history["val_mean_io_u"][-1] == pytest.approx(expected(model, X[:20], LABELS[:20]))
    assert seen[-1] == pytest.approx(expected(model, X, LABELS))
    assert not metric.matrix.any()  # what compile was given is a pattern, nobody's state


def test_an_object_that_is_no_metric_by_class():
    class Count:
        name = "count"

        def reset(self):
            self.samples = 0

        def update(self, y_true, y_pred):
            self.samples += len(y_pred)

        def result(self):
            return self.samples

    assert compiled(metrics=[Count()]).evaluate(X, LABELS, batch_size=16, verbose=0)[1] == 50


def test_functions_and_objects_that_are_called_are_not_copied():
    class Remembers:
        def __init__(self):
            self.batches = []

        def __call__(self, y_true, y_pred):
            self.batches.append(len(y_pred))
            return 1.0

    remembers = Remembers()
    compiled(metrics=[remembers]).evaluate(X, LABELS, batch_size=20, verbose=0)
    assert remembers.batches == [20, 20, 10]


def test_saved_and_loaded(tmp_path):
    model = compiled(metrics=[MeanIoU(name="iou")])
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", custom_objects={"MeanIoU": MeanIoU})
    assert again.metrics_names == ["loss", "iou"]
    assert again.evaluate(X, LABELS, verbose=0) == model.evaluate(X, LABELS, verbose=0)


def test_a_metric_that_defines_nothing():
    model = Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", loss="mse", metrics=[metrics.Metric("nothing")])
    with pytest.raises(NotImplementedError, match="Metric defines neither __call__ nor update"):
        model.evaluate(np.zeros((2, 2)), np.zeros((2, 1)), verbose=0)
