"""Ten steps of training ResNet-18 beside PyTorch from the same weights: losses, gradients, batch norm's statistics."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastconv as fc
from fastconv import applications, layers, optimizers

torch = pytest.importorskip("torch", reason="needs torch==2.13.0")

from fastconv.bench.twin import torch_optimizer, torch_twin  # noqa: E402

STEPS, BATCH, SIZE, CLASSES = 10, 8, 64, 10


def pairs(model: fc.Model, net: Any) -> list[tuple[layers.Layer, Any]]:
    """Layers with weights, and the PyTorch modules that hold the same."""
    ours = [node.layer for node in model.graph.nodes if node.layer.parameters]
    theirs = [m for m in net.modules() if any(True for _ in m.parameters(recurse=False))]
    return list(zip(ours, theirs, strict=True))


@pytest.fixture(scope="module", params=["float32", "float64"])
def trained(request: pytest.FixtureRequest) -> Iterator[tuple[list[float], list[float], fc.Model, Any]]:
    """Losses of both, and both networks after the last step."""
    before = fc.floatx(), torch.get_default_dtype()
    fc.set_floatx(request.param)
    torch.set_default_dtype(getattr(torch, request.param))
    fc.utils.set_random_seed(3)
    model = applications.ResNet18(input_shape=(SIZE, SIZE, 3), classes=CLASSES)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, SIZE, SIZE, 3)).astype(request.param)
    labels = rng.integers(0, CLASSES, BATCH)
    images, targets = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)
    optimizer = optimizers.SGD(0.0003, momentum=0.9)
    net = torch_twin(model).train()
    stepper, criterion = torch_optimizer(optimizer, net), torch.nn.CrossEntropyLoss()
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    ours, theirs = [], []
    for _ in range(STEPS):
        ours.append(float(model.train_on_batch(x, labels)))
        stepper.zero_grad()
        loss = criterion(net(images), targets)
        loss.backward()
        stepper.step()
        theirs.append(loss.item())
    yield ours, theirs, model, net
    fc.set_floatx(before[0])
    torch.set_default_dtype(before[1])


def test_loss_curve(trained: Any) -> None:
    ours, theirs, model, _ = trained
    assert ours[-1] < 0.1 * ours[0], "the steps must do something"
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 if model.dtype == "float32" else 1e-6)


def test_weights(trained: Any) -> None:
    """Ten steps' gradients, added up in the weights. In float32 the signs of values near 0 part the two: there the
    first convolution, which all of them reach, is 1 % off; in float64 nothing is."""
    _, _, model, net = trained
    bound = 0.03 if model.dtype == "float32" else 1e-5
    for layer, module in pairs(model, net):
        ours, theirs = layer.parameters[0].value, module.weight.detach().numpy()
        if theirs.ndim == 4:
            theirs = theirs.transpose(2, 3, 1, 0)
        elif theirs.ndim == 2:
            theirs = theirs.T
        assert np.linalg.norm(ours - theirs) <= bound * np.linalg.norm(theirs), layer.name


def test_statistics_of_batch_norm(trained: Any) -> None:
    """PyTorch's moving variance is unbiased, Keras' and ours biased; what is left of the initial 1 is the same."""
    _, _, model, net = trained
    bound = 0.03 if model.dtype == "float32" else 1e-5
    seen = 0
    shapes = {node.layer: node.inputs[0].shape for node in model.graph.nodes}
    for layer, module in pairs(model, net):
        if not isinstance(layer, layers.BatchNormalization):
            continue
        mean, variance, theirs = layer.moving_mean.value, layer.moving_variance.value, module.running_var.numpy()
        start = (1 - module.momentum) ** STEPS
        count = BATCH * shapes[layer][1] * shapes[layer][2]
        biased = start + (theirs - start) * (count - 1) / count
        assert np.linalg.norm(mean - module.running_mean.numpy()) <= bound * np.linalg.norm(mean), layer.name
        assert np.linalg.norm(variance - biased) <= bound * np.linalg.norm(biased), layer.name
        seen += 1
    assert seen == 20
