"""Measure whole networks: `fastconv bench net`: a training step and inference, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import applications, layers, optimizers
from fastconv.bench import mnist_epoch
from fastconv.bench.layers import UsageError
from fastconv.bench.peers import onnxruntime_runner, openvino_runner
from fastconv.bench.rows import Contestant, Measurement, Options, race
from fastconv.errors import did_you_mean

PASSES = ("train", "infer")
CONTESTANTS = ("fastconv", "torch NCHW", "torch NHWC", "onnxruntime", "openvino")
_RUNNERS = {"onnxruntime": onnxruntime_runner, "openvino": openvino_runner}  # they only infer


@dataclass(frozen=True)
class Workload:
    """A classifier: ``build()`` returns a model whose last layer is a softmax."""

    name: str
    batch: int
    build: Callable[[], fc.Model]
    optimizer: Callable[[], optimizers.Optimizer]
    tolerance: float = 1e-3  # of the probabilities, and of the loss before and after a step


def application(name: str, **arguments: Any) -> Callable[[], fc.Model]:
    """A network of ``fastconv.applications``, its dropout switched off so that two runs can be compared."""

    def build() -> fc.Model:
        model: fc.Model = getattr(applications, name)(**arguments)
        for layer in model.layers:
            if isinstance(layer, layers.Dropout):
                layer.rate = 0.0
        return model

    return build


def _zoo(name: str, function: str, **arguments: Any) -> Workload:
    # Through dozens of batch normalisations rounding grows: after one step in float32 two right losses may be 1 %
    # apart, where float64 agrees to 1e-8 (tests/applications/test_zoo_training.py).
    build = application(function, **arguments)
    return Workload(name, 8, build, lambda: optimizers.SGD(0.0001, momentum=0.9), tolerance=0.02)


#: What `--net` accepts. A network that joins this list is measured, its PyTorch twin is made from its layers.
WORKLOADS = {
    network.name: network
    for network in (
        Workload("lenet5", 64, application("LeNet5"), lambda: optimizers.SGD(0.01, momentum=0.9)),
        # RMSprop: Keras adds epsilon under the root, PyTorch beside it, which shows where gradients are tiny
        Workload("notebook", 64, mnist_epoch.notebook_model, optimizers.RMSprop, tolerance=0.03),
        _zoo("alexnet", "AlexNet"),
        _zoo("zfnet", "ZFNet"),
        _zoo("vgg16", "VGG16"),
        _zoo("resnet18", "ResNet18"),
        _zoo("resnet50", "ResNet50"),
        _zoo("inception_v3", "InceptionV3"),
        _zoo("xception", "Xception"),
        _zoo("squeezenet", "SqueezeNet", version="1.1"),
        _zoo("mobilenet", "MobileNet"),
        _zoo("densenet121", "DenseNet121"),
    )
}


def find(names: Iterable[str]) -> list[Workload]:
    """Networks by name, "all" for all; UsageError for one that does not exist."""
    names = list(names)
    if "all" in names:
        return list(WORKLOADS.values())
    for name in names:
        if name not in WORKLOADS:
            raise UsageError(
                f"unknown network {name!r}{did_you_mean(name, WORKLOADS)}; there are {', '.join(WORKLOADS)}"
            )
    return [WORKLOADS[name] for name in names]


def compare(
    chosen: Iterable[Workload], passes: Iterable[str], batch: int | None, options: Options
) -> Iterator[Measurement]:
    """Measure every network in every pass; a row as soon as it is there."""
    passes = list(passes)
    for network in chosen:
        for which in passes:
            yield measure_network(network, which, batch or network.batch, options)


def measure_network(network: Workload, which: str, batch: int, options: Options) -> Measurement:
    """One row: a training step (forward, backward, update) or the probabilities of a batch."""
    names = present(which, options)
    everybody = contestants(network, which, batch, names)
    samples, notes = race(everybody, network.tolerance, options)
    return Measurement(network.name, f"batch {batch}", which, batch, "images/s", samples, notes=notes)


def present(which: str, options: Options) -> list[str]:
    """Those of CONTESTANTS that are there and can do it."""
    return [name for name in _able(which, CONTESTANTS) if name.split()[0] in ("fastconv", *options.peers)]


def _able(which: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if which == "infer" or name not in _RUNNERS]


def contestants(network: Workload, which: str, batch: int, names: Sequence[str]) -> dict[str, Contestant]:
    """Those of these CONTESTANTS that can do it, all with the same weights and data."""
    fc.utils.set_random_seed(0)
    model = network.build()
    rng = np.random.default_rng(0)
    x = rng.random((batch, *model.input_shape[1:]), dtype=np.float32)
    labels = rng.integers(0, model.output_shape[-1], batch)
    found = {
        name: _torch(network, model, which, x, labels, channels_last=name == "torch NHWC")
        for name in names
        if name.startswith("torch")
    }
    exporting = [name for name in _able(which, names) if name in _RUNNERS]
    if exporting:
        from fastconv.interop import to_onnx

        exported = to_onnx(model).SerializeToString()
        found |= {name: Contestant(_RUNNERS[name](exported, x), lambda y: {"probabilities": y}) for name in exporting}
    return ({"fastconv": _fastconv(network, model, which, x, labels)} if "fastconv" in names else {}) | found


def _fastconv(network: Workload, model: fc.Model, which: str, x: np.ndarray, labels: np.ndarray) -> Contestant:
    if which == "infer":
        return Contestant(lambda: model.predict_on_batch(x), lambda y: {"probabilities": y})
    model.compile(network.optimizer(), loss="sparse_categorical_crossentropy")

    def step() -> float:
        return float(model.train_on_batch(x, labels))

    return _two_losses(step)


def _two_losses(step: Callable[[], float]) -> Contestant:
    """The first loss shows that the network is the same, the second that its gradients and its optimizer are."""
    return Contestant(step, lambda first: {"first loss": np.array(first), "second loss": np.array(step())})


def _torch(
    network: Workload, model: fc.Model, which: str, x: np.ndarray, labels: np.ndarray, channels_last: bool
) -> Contestant:
    import torch

    from fastconv.bench.twin import torch_optimizer, torch_twin

    net = torch_twin(model, channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images, targets = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout), torch.from_numpy(labels)

    def probabilities() -> Any:
        with torch.inference_mode():
            return torch.softmax(net(images), 1)

    if which == "infer":
        net.eval()
        return Contestant(probabilities, lambda y: {"probabilities": y.numpy()})
    optimizer, criterion = torch_optimizer(network.optimizer(), net), torch.nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(net(images), targets)
        loss.backward()
        optimizer.step()
        return loss.item()  # type: ignore[no-any-return]

    return _two_losses(step)
