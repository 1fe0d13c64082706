"""Looking inside networks: saliency and Grad-CAM against PyTorch, activation maximisation, memory."""

import sys

import numpy as np
import pytest

import fastconv as fc
from fastconv import layers, visualization


@pytest.fixture(autouse=True)
def nothing_is_shown():
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def residual_model():
    """A shortcut, batch norm with a rectifier, branches that are joined, global pooling, a softmax."""
    x = fc.Input((12, 10, 3))
    y = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(x)
    y = layers.ReLU(name="first")(layers.BatchNormalization(name="bn")(y))
    z = layers.Conv2D(6, 3, padding="same", activation="tanh", name="branch")(y)
    y = layers.Add(name="sum")([y, z])
    y = layers.Concatenate(name="join")([y, layers.MaxPool2D(3, 1, padding="same")(z)])
    y = layers.Conv2D(8, 3, activation="relu", name="last")(y)
    y = layers.GlobalAvgPool2D()(y)
    return fc.Model(x, layers.Dense(4, activation="softmax", name="scores")(y))


def chain_model():
    return fc.Sequential(
        [
            layers.Input((9, 8, 2)),
            layers.Conv2D(5, 3, activation="relu", name="a"),
            layers.MaxPool2D(2, name="b"),
            layers.Conv2D(4, 2, name="last"),
            layers.Flatten(),
            layers.Dense(3),
            layers.Softmax(),
        ]
    )


def nested_model():
    """The layers of `chain_model`, the middle ones in models within models."""
    core = fc.Sequential([layers.Input((3, 3, 5)), layers.Conv2D(4, 2, name="last"), layers.Flatten()], name="core")
    body = fc.Sequential([layers.Input((7, 6, 5)), layers.MaxPool2D(2, name="b"), core], name="body")
    head = fc.Sequential([layers.Input((16,)), layers.Dense(3), layers.Softmax()], name="head")
    x = fc.Input((9, 8, 2))
    return fc.Model(x, head(body(layers.Conv2D(5, 3, activation="relu", name="a")(x))))


@pytest.fixture(params=[residual_model, chain_model])
def built(request):
    fc.utils.set_random_seed(3)
    model = request.param()
    rng = np.random.default_rng(1)
    for p in model.non_trainable_weights:  # moving statistics that do something
        p.assign(rng.uniform(0.5, 1.5, p.shape).astype(np.float32))
    return model, rng.standard_normal((3, *model.input_shape[1:]), dtype=np.float32)


def torch_gradients(model, x, classes, layer=None):
    """By PyTorch: gradient of the chosen scores for x, and for a layer: its output and the gradient for that."""
    torch = pytest.importorskip("torch", reason="needs torch==2.13.0")
    from fastconv.bench.twin import torch_twin

    net = torch_twin(model).eval()
    kept = []
    if layer is not None:
        nodes = [node.layer.name for node in model.graph.nodes]
        module = net.steps[nodes.index(layer)] if hasattr(net, "steps") else net[{"a": 1, "b": 2, "last": 3}[layer]]

        def keep(_module, _inputs, output):
            output.retain_grad()
            kept.append(output)

        module.register_forward_hook(keep)
    t = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    scores = net(t)
    chosen = scores.argmax(1) if classes is None else torch.tensor(np.broadcast_to(classes, len(x)).copy())
    scores[torch.arange(len(x)), chosen].sum().backward()

    def nhwc(tensor):
        return tensor.detach().numpy().transpose(0, 2, 3, 1)

    return nhwc(t.grad), *((nhwc(kept[0]), nhwc(kept[0].grad)) if kept else ())


@pytest.mark.parametrize("classes", [None, 1, [2, 0, 1]])
def test_saliency_is_the_gradient_of_the_score_before_the_softmax(built, classes):
    model, x = built
    got = visualization.saliency(model, x, classes)
    (expected,) = torch_gradients(model, x, classes)
    assert got.shape == x.shape
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max() + 1e-7)
    assert np.count_nonzero(expected) > 0.5 * expected.size
    one = None if classes is None else np.broadcast_to(classes, 3)[1]
    np.testing.assert_allclose(visualization.saliency(model, x[1], one), got[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("classes", [None, [2, 0, 1]])
@pytest.mark.parametrize("layer", ["first", "branch", "join", None])
def test_grad_cam_of_a_graph(layer, classes):
    fc.utils.set_random_seed(3)
    check_grad_cam(residual_model(), layer, classes)


@pytest.mark.parametrize("layer", ["a", "b", None])
def test_grad_cam_of_a_chain(layer):
    fc.utils.set_random_seed(3)
    check_grad_cam(chain_model(), layer, 1)


def check_grad_cam(model, layer, classes):
    """Selvaraju et al. (2017), equations 1 and 2, with what PyTorch says; by default the layer called "last"."""
    x = np.random.default_rng(5).standard_normal((3, *model.input_shape[1:]), dtype=np.float32)
    if layer == "a":  # the twin's rectifier is a step of its own; its gradient is zero where the output is
        got = visualization.grad_cam(model, x, classes, model.get_layer("a"))
        activations = model.get_layer("a")(x)
        _, pooled, dpooled = torch_gradients(model, x, classes, "b")
        _, argmax = fc.ops.max_pool2d(activations, 2)
        gradients = fc.ops.max_pool2d_backward(dpooled, argmax, activations.shape)
        assert pooled.shape == dpooled.shape
    else:
        got = visualization.grad_cam(model, x, classes, layer)
        _, activations, gradients = torch_gradients(model, x, classes, layer or "last")
    weights = gradients.mean(axis=(1, 2))
    expected = np.maximum(np.einsum("nk,nhwk->nhw", weights, activations), 0)
    assert np.count_nonzero(expected) > 5
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-6 * expected.max())
    one = None if classes is None else np.broadcast_to(classes, 3)[2]
    np.testing.assert_allclose(visualization.grad_cam(model, x[2], one, layer), got[2], rtol=1e-5, atol=1e-7)


def test_nested_models_give_what_their_layers_give():
    fc.utils.set_random_seed(3)
    plain, model = chain_model(), nested_model()
    plain.set_weights(model.get_weights())
    x = np.random.default_rng(5).standard_normal((3, 9, 8, 2), dtype=np.float32)
    np.testing.assert_allclose(visualization.saliency(model, x), visualization.saliency(plain, x), rtol=1e-5, atol=1e-7)
    expected = visualization.grad_cam(plain, x)
    np.testing.assert_allclose(visualization.grad_cam(model, x), expected, rtol=1e-5, atol=1e-7)
    for layer in ("body/core/last", model.get_layer("body").get_layer("core").get_layer("last")):
        np.testing.assert_allclose(visualization.grad_cam(model, x, layer=layer), expected, rtol=1e-5, atol=1e-7)
    inner, outer = (
        visualization.maximise_activation(m, layer, 2, steps=3) for m, layer in ((plain, "b"), (model, "body/b"))
    )
    np.testing.assert_array_equal(inner, outer)
    with pytest.raises(ValueError, match=r'no layer "last" .* body/core/last'):
        visualization.grad_cam(model, x, layer="last")
    core = model.get_layer("body").get_layer("core")
    assert core.get_layer("last").output.shape == (None, 2, 2, 4)  # a call of its own still, and one only


def test_looking_changes_nothing(built):
    model, x = built
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.get_layer("last").trainable = False
    y, tape = model.forward(x, training=False)
    model.backward(np.ones_like(y), tape)
    before = [(p.grad, None if p.grad is None else p.grad.copy(), p.trainable, p.numpy()) for p in model.parameters]
    assert any(gradient is not None for gradient, *_ in before)
    visualization.saliency(model, x)
    visualization.grad_cam(model, x)
    visualization.maximise_activation(model, "last", 0, steps=2)
    visualization.plot_memory(model)
    visualization.plot_model(model, expand_nested=True)
    with pytest.raises(ValueError, match="class_index 9"):
        visualization.saliency(model, x, 9)
    for p, (gradient, copy, trainable, value) in zip(model.parameters, before, strict=True):
        assert p.grad is gradient
        assert p.trainable is trainable
        np.testing.assert_array_equal(p.value, value)
        if copy is not None:
            np.testing.assert_array_equal(p.grad, copy)


def test_logits_and_sigmoids_are_scores_too():
    """Without a softmax the output is the score; before a sigmoid it is the value before."""
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 1), dtype=np.float32)
    results = []
    for activation in (None, "softmax", "sigmoid", "tanh"):
        fc.utils.set_random_seed(0)
        model = fc.Sequential(
            [layers.Input((5, 5, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3, activation)]
        )
        results.append(visualization.saliency(model, x, 0))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert not np.allclose(results[0], results[3])


def test_arguments_that_do_not_fit(built):
    model, x = built
    classes = model.output_shape[-1]
    with pytest.raises(ValueError, match=rf"class_index {classes}: the model has {classes} classes"):
        visualization.saliency(model, x, classes)
    with pytest.raises(ValueError, match="got 2 classes for 3 samples"):
        visualization.grad_cam(model, x, [0, 1])
    with pytest.raises(TypeError, match="class_index must be an integer"):
        visualization.saliency(model, x, 0.5)
    with pytest.raises(ValueError, match="expects an input of shape"):
        visualization.saliency(model, x[:, 1:])
    with pytest.raises(ValueError, match="there are no samples"):
        visualization.saliency(model, x[:0])
    with pytest.raises(ValueError, match=r"is no layer with feature maps"):
        visualization.grad_cam(model, x, layer=model.layers[-1])
    with pytest.raises(ValueError, match=r"class scores need .*one output \(N, classes\)"):
        visualization.saliency(fc.Model(model.input, model.get_layer("last").output), x)
    flat = fc.Sequential([layers.Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="no layer with feature maps"):
        visualization.grad_cam(flat, np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="alpha must be from 0 to 1, got 2"):
        visualization.plot_grad_cam(model, x, alpha=2)


def test_pictures_of_saliency_and_grad_cam():
    fc.utils.set_random_seed(0)
    model = residual_model()
    x = np.random.default_rng(0).random((2, 12, 10, 3), dtype=np.float32)
    figure = visualization.plot_saliency(model, x, 1)
    pictures = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    assert [p.shape for p in pictures] == [(12, 10, 3), (12, 10)] * 2
    np.testing.assert_allclose(pictures[3], np.abs(visualization.saliency(model, x, 1)[1]).max(axis=-1))
    figure = visualization.plot_grad_cam(model, x, 1, layer="first", alpha=0.3)
    assert [len(ax.images) for ax in figure.axes] == [1, 2, 1, 2]
    image, overlay = figure.axes[3].images
    np.testing.assert_allclose(overlay.get_array(), visualization.grad_cam(model, x, 1, "first")[1])
    assert overlay.get_extent() == [*image.get_extent()]
    assert overlay.get_alpha() == 0.3
    with pytest.raises(ValueError, match=r"needs images .*got shape \(12, 10\)"):
        visualization.plot_saliency(model, x[0, :, :, 0])


# ---- activation maximisation ----


def test_a_linear_filter_is_maximised_by_its_own_signs():
    """Of all images within the range, the best has the highest value where the weight is positive, else the lowest."""
    fc.utils.set_random_seed(0)
    model = fc.Sequential([layers.Input((6, 5, 3)), layers.Conv2D(2, (6, 5), name="filter", activation="relu")])
    low, high = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 0.5, 3.0])
    image = visualization.maximise_activation(
        model, "filter", 1, steps=300, jitter=0, decay=0, smooth=0, step_size=0.05, value_range=(low, high)
    )
    kernel = model.get_layer("filter").kernel.value[..., 1]
    assert image.dtype == np.float32
    clear = np.abs(kernel) > 0.03  # a weight of nearly 0 moves its pixel slowly
    np.testing.assert_allclose(image[clear], np.where(kernel > 0, high, low)[clear], atol=1e-6)


@pytest.mark.parametrize("layer", ["first", "last", "scores"])
def test_the_channel_is_excited_more_than_by_noise(layer):
    fc.utils.set_random_seed(1)
    model = residual_model()
    until = fc.Model(model.input, model.get_layer(layer).output)
    image = visualization.maximise_activation(model, layer, 2, steps=40, seed=4)
    assert image.shape == (12, 10, 3)
    assert image.min() >= 0
    assert image.max() <= 1
    noise = np.random.default_rng(0).random((20, 12, 10, 3), dtype=np.float32)
    # Before the activation: a rectifier would make nothing of both.
    ours, theirs = (until.forward_linear(x)[0][..., 2] for x in (image[np.newaxis], noise))
    assert ours.mean() > theirs.reshape(20, -1).mean(axis=1).max()
    np.testing.assert_array_equal(visualization.maximise_activation(model, layer, 2, steps=40, seed=4), image)
    assert not np.array_equal(visualization.maximise_activation(model, layer, 2, steps=40, seed=5), image)


def test_jitter_moves_the_image_before_each_step():
    model = residual_model()
    still, moved = (visualization.maximise_activation(model, "first", 1, steps=3, jitter=j) for j in (0, 2))
    assert not np.array_equal(still, moved)


def test_maximise_refuses_what_does_not_fit():
    model = residual_model()
    maximise = visualization.maximise_activation
    with pytest.raises(ValueError, match="channel 6: the layer has 6 channels, 0 to 5"):
        maximise(model, "first", 6)
    with pytest.raises(ValueError, match=r"value_range must be two values, the lower first, got \(1, 0\)"):
        maximise(model, "first", 0, value_range=(1, 0))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        maximise(model, "first", 0, steps=0)
    with pytest.raises(ValueError, match="decay must be from 0 to below 1, got 1"):
        maximise(model, "first", 0, decay=1)
    with pytest.raises(ValueError, match="jitter must be at least 0, got -1"):
        maximise(model, "first", 0, jitter=-1)
    with pytest.raises(ValueError, match="step_size must be above 0"):
        maximise(model, "first", 0, step_size=0)
    anysize = fc.Sequential([layers.Input((None, None, 1)), layers.Conv2D(2, 3, name="c")])
    with pytest.raises(ValueError, match=r"unknown size \(None, None, None, 1\): give input_shape"):
        maximise(anysize, "c", 0)
    assert maximise(anysize, "c", 0, steps=1, input_shape=(7, 6, 1)).shape == (7, 6, 1)


def test_plot_maximised():
    model = residual_model()
    figure = visualization.plot_maximised(model, "first", [4, 1], steps=2)
    assert [ax.get_title() for ax in figure.axes if ax.images] == ["4", "1"]
    assert figure.get_suptitle() == "what excites channels of first"
    assert len([ax for ax in visualization.plot_maximised(model, "scores", steps=1).axes if ax.images]) == 4
    with pytest.raises(ValueError, match="got 1 images for 2 channels"):
        visualization.plot_maximised(model, "first", [4, 1], images=np.zeros((1, 12, 10, 3)))


# ---- memory ----


def widths(ax):
    return [patch.get_width() for patch in ax.patches]


def test_memory_layer_by_layer():
    figure = visualization.plot_memory(nested_model())
    arrays, weights = figure.axes
    outputs = [9 * 8 * 2, 7 * 6 * 5, 3 * 3 * 5, 2 * 2 * 4, 16, 3, 3]
    np.testing.assert_allclose(widths(arrays), np.array(outputs) * 4 / 2**20)
    parameters = [0, 9 * 2 * 5 + 5, 0, 4 * 5 * 4 + 4, 0, 16 * 3 + 3, 0]
    np.testing.assert_allclose(widths(weights), np.array(parameters) * 4 / 2**20)
    names = [label.get_text() for label in arrays.get_yticklabels()]
    assert names == ["input_layer", "a", "body/b", "body/core/last", "body/core/flatten", "head/dense", "head/softmax"]
    assert arrays.get_title() == f"outputs of one image: {sum(outputs) * 4 / 1024:.1f} KB"


def test_memory_of_shared_weights_and_of_any_size():
    x = fc.Input((None, None, 1))
    conv = layers.Conv2D(1, 3, padding="same", name="twice")
    model = fc.Model(x, conv(conv(x)))
    with pytest.raises(ValueError, match="is unknown: give input_shape"):
        visualization.plot_memory(model)
    arrays, weights = visualization.plot_memory(model, (4, 8, 1)).axes
    np.testing.assert_allclose(widths(arrays), [128 / 2**20] * 3)
    np.testing.assert_allclose(widths(weights), [0, 40 / 2**20, 0])  # counted once
