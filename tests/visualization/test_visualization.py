"""Pictures: what is drawn is what was given, and nothing is shown unasked."""

import subprocess
import sys

import numpy as np
import pytest

import fastconv as fc
from fastconv import layers, visualization


@pytest.fixture(autouse=True)
def nothing_is_shown():
    """No function may leave a figure in pyplot's hands, which would draw it in notebooks and keep it in memory."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def drawn(figure):
    """The arrays of all pictures in a figure, colour bars aside."""
    axes = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    return [np.asarray(ax.images[0].get_array()) for ax in axes if ax.images]


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.images]


def test_filters_over_one_channel_share_a_scale_around_zero(rng, tmp_path):
    kernel = rng.normal(size=(5, 3, 1, 6)).astype(np.float32)
    figure = visualization.plot_filters(kernel)
    pictures = drawn(figure)
    assert len(pictures) == 6
    np.testing.assert_array_equal(pictures[4], kernel[:, :, 0, 4])
    limit = np.abs(kernel).max()
    assert {ax.images[0].get_clim() for ax in figure.axes[:6]} == {(-limit, limit)}
    assert figure.get_suptitle() == "6 filters of 5 x 3 x 1"
    figure.savefig(tmp_path / "filters.png")
    assert (tmp_path / "filters.png").stat().st_size > 1000


def test_filters_over_three_channels_are_colours(rng):
    kernel = rng.normal(size=(7, 7, 3, 70))
    figure = visualization.plot_filters(kernel, max_filters=10)
    pictures = drawn(figure)
    assert len(pictures) == 10
    assert figure.get_suptitle() == "70 filters of 7 x 7 x 3, the first 10"
    low, high = kernel[..., 2].min(), kernel[..., 2].max()
    np.testing.assert_allclose(pictures[2], (kernel[..., 2] - low) / (high - low))


def test_deeper_filters_are_a_mosaic(rng):
    kernel = rng.normal(size=(3, 2, 20, 5))
    (mosaic,) = drawn(visualization.plot_filters(kernel, max_channels=4))
    assert mosaic.shape == (5 * 4 - 1, 4 * 3 - 1)
    np.testing.assert_array_equal(mosaic[8:11, 9:11], kernel[:, :, 3, 2])


def test_filters_of_a_layer(rng):
    layer = layers.Conv2D(4, 3)
    layer(rng.normal(size=(1, 8, 8, 1)).astype(np.float32))
    pictures = drawn(visualization.plot_filters(layer))
    np.testing.assert_array_equal(pictures[1], layer.kernel.value[:, :, 0, 1])


def test_filters_of_something_else():
    with pytest.raises(ValueError, match=r"needs a kernel \(KH, KW, C, K\), got shape \(3, 3\)"):
        visualization.plot_filters(np.zeros((3, 3)))


@pytest.fixture
def model():
    return fc.Sequential(
        [
            layers.Input((12, 10, 1)),
            layers.Conv2D(5, 3, name="edges"),
            layers.MaxPool2D(2, name="smaller"),
            layers.Conv2D(20, 3, name="deep"),
            layers.Flatten(name="flat"),
        ]
    )


def test_feature_maps_are_the_outputs_of_the_layers(model, rng):
    image = rng.random((12, 10, 1)).astype(np.float32)
    figure = visualization.plot_feature_maps(model, image, max_maps=7)
    pictures = drawn(figure)
    assert [picture.shape for picture in pictures] == [(12, 10)] + [(10, 8)] * 5 + [(5, 4)] * 5 + [(3, 2)] * 7
    edges = model.get_layer("edges")(image[np.newaxis])
    np.testing.assert_allclose(pictures[3], edges[0, :, :, 2], rtol=1e-6)
    deep = model.get_layer("deep")(model.get_layer("smaller")(edges))
    np.testing.assert_allclose(pictures[-1], deep[0, :, :, 6], rtol=1e-5, atol=1e-6)
    words = [part.get_suptitle() for part in figure.subfigs[1:]]
    assert words == ["edges: 10 x 8 x 5", "smaller: 5 x 4 x 5", "deep: 3 x 2 x 20, the first 7"]


def test_feature_maps_of_chosen_layers(model, rng):
    image = rng.random((1, 12, 10, 1)).astype(np.float32)
    assert len(drawn(visualization.plot_feature_maps(model, image, layers=["smaller"]))) == 1 + 5
    with pytest.raises(ValueError, match=r'"flat" has output shape \(None, 120\)'):
        visualization.plot_feature_maps(model, image, layers=["flat"])
    with pytest.raises(ValueError, match="nothing"):
        visualization.plot_feature_maps(model, image, layers=["nothing"])
    with pytest.raises(ValueError, match=r"draws one image .*got shape \(2, 12, 10, 1\)"):
        visualization.plot_feature_maps(model, np.concatenate([image, image]))


def test_feature_maps_need_a_layer_with_pictures(rng):
    model = fc.Sequential([layers.Input((4, 4, 1)), layers.Flatten()])
    with pytest.raises(ValueError, match="no convolution or pooling layer"):
        visualization.plot_feature_maps(model, rng.random((4, 4, 1)).astype(np.float32))


def test_history_draws_training_and_validation_together():
    records = {"loss": [3.0, 2.0, 1.0], "accuracy": [0.5, 0.6, 0.7], "val_loss": [3.5, 2.5, 2.0]}
    loss, accuracy = visualization.plot_history(records).axes
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), records["val_loss"])
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), records["accuracy"])
    assert (accuracy.get_title(), accuracy.get_xlabel()) == ("accuracy", "epoch")


def test_history_without_records():
    with pytest.raises(ValueError, match="at least one epoch"):
        visualization.plot_history({})


def test_predictions_name_right_and_wrong(rng):
    images = rng.integers(0, 256, (3, 6, 5), dtype=np.uint8)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    figure = visualization.plot_predictions(images, np.array([0, 1, 1]), probabilities, class_names=("cat", "dog"))
    assert titles(figure) == ["cat (90%)", "cat (80%)\ntrue: dog", "dog (70%)"]
    colours = [ax.title.get_color() for ax in figure.axes if ax.images]
    assert colours[0] == colours[2] != colours[1]
    assert [picture.shape for picture in drawn(figure)] == [(6, 5)] * 3


def test_only_wrong_predictions_the_surest_first(rng):
    images = rng.random((4, 5, 5, 3))
    probabilities = np.array([[0.6, 0.4], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    one_hot = np.eye(2)[[1, 1, 1, 0]]
    figure = visualization.plot_predictions(images, one_hot, probabilities, only_wrong=True, max_images=2)
    assert titles(figure) == ["1 (90%)\ntrue: 0", "0 (80%)\ntrue: 1"]
    assert figure.get_suptitle() == "3 of 4 predictions are wrong; the surest 2"


def test_no_wrong_predictions(rng):
    figure = visualization.plot_predictions(rng.random((2, 5, 5)), [[1], [0]], [1, 0], only_wrong=True)
    assert figure.get_suptitle() == "0 of 2 predictions are wrong"
    assert drawn(figure) == []


def test_predictions_of_different_lengths(rng):
    with pytest.raises(ValueError, match="2 images, 3 labels and 3 predictions"):
        visualization.plot_predictions(rng.random((2, 5, 5)), [0, 1, 2], [0, 1, 2])


def test_confusion_matrix_has_a_row_for_each_true_class():
    y_true, y_pred = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]
    figure = visualization.plot_confusion_matrix(y_true, y_pred)
    (ax,) = figure.axes
    texts = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts}
    assert texts == {(0, 0): "2", (0, 1): "1", (1, 1): "2", (2, 0): "1"}
    assert ax.get_title() == "66.67% of 6 are right"
    (ax,) = visualization.plot_confusion_matrix(y_true, np.eye(3)[y_pred], normalize=True).axes
    assert sorted(t.get_text() for t in ax.texts) == ["0.33", "0.67", "1.00", "1.00"]


@pytest.mark.parametrize("pair", [([], []), ([0, 1], [0])])
def test_confusion_matrix_of_nothing(pair):
    with pytest.raises(ValueError, match="need as many of each"):
        visualization.plot_confusion_matrix(*pair)


def test_matplotlib_is_imported_only_for_pictures():
    code = (
        "import sys, fastconv as fc; fc.layers, fc.models, fc.datasets, fc.utils; "
        "assert 'matplotlib' not in sys.modules; "
        "fc.visualization.plot_history; assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
