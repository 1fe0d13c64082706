"""The PyTorch twin of a fastconv model computes the same: outputs, and losses over steps of training."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import layers, optimizers

torch = pytest.importorskip("torch", reason="needs torch==2.13.0")

from fastconv.bench import nets, rows  # noqa: E402
from fastconv.bench.twin import torch_optimizer, torch_twin  # noqa: E402


def residual_model():
    """Two branches, asymmetric padding ("same" with stride 2), batch norm, a sum, a concatenation."""
    x = fc.Input((12, 10, 3))
    y = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    z = layers.Conv2D(6, (1, 3), padding="same", activation="tanh", groups=2)(y)
    y = layers.Add()([y, z])
    y = layers.Concatenate()([y, layers.MaxPool2D(3, 1, padding="same")(z)])
    y = layers.MaxPool2D(3, 2, padding="same")(y)
    y = layers.Conv2D(8, 3, padding=((1, 0), (0, 1)), dilation_rate=1)(y)
    y = layers.Activation("relu")(layers.GlobalAvgPool2D()(y))
    return fc.Model(x, layers.Dense(4, activation="softmax")(y))


def chain_model():
    """Flatten in the middle: PyTorch flattens channels first."""
    return fc.Sequential(
        [
            layers.Input((7, 9, 2)),
            layers.Conv2D(5, 3, activation="relu"),
            layers.MaxPool2D(2, ceil_mode=True),
            layers.Flatten(),
            layers.Dense(6, activation="sigmoid", use_bias=False),
            layers.Dense(3),
            layers.Softmax(),
        ]
    )


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("build", [residual_model, chain_model])
def test_inference(build, channels_last):
    fc.utils.set_random_seed(1)
    model = build()
    x = np.random.default_rng(0).standard_normal((3, *model.input_shape[1:]), dtype=np.float32)
    net = torch_twin(model, channels_last).eval()
    assert isinstance(net, torch.nn.Sequential) == (build is chain_model)
    with torch.no_grad():
        got = torch.softmax(net(torch.from_numpy(x).permute(0, 3, 1, 2)), 1).numpy()
    np.testing.assert_allclose(got, model.predict_on_batch(x), rtol=1e-4, atol=1e-6)


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01, 0.8, 0.95),
    "rmsprop": lambda: optimizers.RMSprop(0.01, 0.7, epsilon=1e-12),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("build", [residual_model, chain_model])
def test_training(build, optimizer):
    network = nets.Workload("small", 8, build, OPTIMIZERS[optimizer])
    everybody = nets.contestants(network, "train", 8, nets.CONTESTANTS)
    losses = {name: [one.run() for _ in range(5)] for name, one in everybody.items()}
    assert losses["fastconv"][-1] < losses["fastconv"][0]
    for name in ("torch NCHW", "torch NHWC"):
        np.testing.assert_allclose(losses[name], losses["fastconv"], rtol=2e-3, err_msg=name)


def test_other_weights_are_seen():
    """The check before the timing notices a twin with another learning rate."""
    network = nets.Workload("small", 8, chain_model, lambda: optimizers.SGD(0.5))
    other = nets.Workload("small", 8, chain_model, lambda: optimizers.SGD(0.1))
    everybody = nets.contestants(network, "train", 8, ["fastconv"])
    everybody |= nets.contestants(other, "train", 8, ["torch NCHW"])
    (line,) = rows.disagreements(everybody, network.tolerance)
    assert line.startswith("WRONG: second loss of torch NCHW")


def test_what_has_no_twin_says_so():
    model = fc.Sequential([layers.Input((4, 4, 1)), layers.LocallyConnected2D(2, 2), layers.Flatten()])
    with pytest.raises(NotImplementedError, match="LocallyConnected2D"):
        torch_twin(model)
    with pytest.raises(NotImplementedError, match="Adagrad"):
        torch_optimizer(optimizers.Adagrad(), torch.nn.Linear(1, 1))
    model = fc.Sequential([layers.Input((4, 4, 1)), layers.Conv2D(2, 2, activation="elu")])
    with pytest.raises(NotImplementedError, match="elu"):
        torch_twin(model)
