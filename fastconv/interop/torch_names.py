"""Which torchvision module is which layer, for networks whose order of definition is not the order of computation."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from ..errors import CheckpointError, shortened
from ..graph.layer import GraphLayer
from ..layers import BatchNormalization

_TORCHVISION_EPSILON = 1e-5
# Siblings in the order in which torchvision's VGG, SqueezeNet and DenseNet define them.
_SIBLINGS = (
    ("features", "classifier"),
    ("squeeze", "expand1x1", "expand3x3"),
    (
        "conv0", "norm0", "denseblock1", "transition1", "denseblock2", "transition2", "denseblock3", "transition3",
        "denseblock4", "norm5",
    ),
    ("norm1", "conv1", "norm2", "conv2"),
    ("norm", "conv"),
)  # fmt: skip


def known_network(
    modules: Collection[str], layers: Collection[str], model: GraphLayer | None, source: str
) -> dict[str, str] | None:
    """Return module -> layer if the file and the model are the same known network, else None.

    Args:
        modules: names of the file's modules with weights, e.g. ``"layer1.0.conv1"``.
        layers: names of the model's layers with weights.
        model: to see whether it computes what torchvision does; None: never mind.
        source: for messages.

    Raises:
        CheckpointError: torchvision's MobileNetV2 in a model that has another epsilon, and so other predictions.
    """
    if {"conv1", "bn1", "layer1.0.conv1"} <= {*modules} and {"conv1_conv", "conv2_block1_1_conv"} <= {*layers}:
        return dict(_resnet(modules))
    if {"features.0.0", "features.1.conv.0.0"} <= {*modules} and {"Conv1", "expanded_conv_depthwise"} <= {*layers}:
        if model is not None:
            _check_epsilon(model, source)
        return dict(_mobilenet_v2(modules))
    return None


def _resnet(modules: Iterable[str]) -> Iterable[tuple[str, str]]:
    """torchvision defines a block's projection last, although its input comes first."""
    fixed = {"conv1": "conv1_conv", "bn1": "conv1_bn", "fc": "predictions"}
    for module in modules:
        if module in fixed:
            yield module, fixed[module]
        elif match := re.fullmatch(r"layer(\d+)\.(\d+)\.(conv|bn)(\d+)", module):
            stage, block, kind, number = match.groups()
            yield module, f"conv{_plus_1(stage)}_block{_plus_1(block)}_{number}_{kind}"
        elif match := re.fullmatch(r"layer(\d+)\.(\d+)\.downsample\.([01])", module):
            stage, block, place = match.groups()
            yield module, f"conv{_plus_1(stage)}_block{_plus_1(block)}_0_{'conv' if place == '0' else 'bn'}"


def _plus_1(number: str) -> str:
    # A file may hold a number too long for int(); such a module belongs to no layer whatever it is called.
    return str(int(number) + 1) if len(number) < 5 else number


def _mobilenet_v2(modules: Collection[str]) -> Iterable[tuple[str, str]]:
    """features.0 is the stem, features.1 to 17 are blocks, the last of the features is Conv_1."""
    last = max((len(m), m) for m in modules if re.fullmatch(r"features\.\d+\.0", m))[1].split(".")[1]
    parts = {  # of a block that expands, and of the first, which does not
        "0.0": "expand", "0.1": "expand_BN", "1.0": "depthwise", "1.1": "depthwise_BN", "2": "project",
        "3": "project_BN",
    }  # fmt: skip
    first = {"0.0": "depthwise", "0.1": "depthwise_BN", "1": "project", "2": "project_BN"}
    for module in modules:
        match = re.fullmatch(r"features\.(\d{1,4})\.(?:conv\.)?(\d(?:\.\d)?)", module)
        if match is None:
            if module == "classifier.1":
                yield module, "predictions"
            continue
        number, part = match.groups()
        if number == "0":
            yield module, {"0": "Conv1", "1": "bn_Conv1"}.get(part, module)
        elif number == last:
            yield module, {"0": "Conv_1", "1": "Conv_1_bn"}.get(part, module)
        elif number == "1":
            yield module, f"expanded_conv_{first.get(part, part)}"
        else:
            yield module, f"block_{int(number) - 1}_{parts.get(part, part)}"


def definition_order(modules: Iterable[str], source: str) -> list[str]:
    """Return modules in the order in which a network defines them, found from their names alone.

    Raises:
        CheckpointError: names whose order cannot be known.
    """
    children: dict[str, list[str]] = {}  # of one parent, each once
    modules = list(modules)
    for module in modules:
        parts = module.split(".")
        for i, part in enumerate(parts):
            siblings = children.setdefault(".".join(parts[:i]), [])
            if part not in siblings:
                siblings.append(part)
    ranks = {parent: _ranked(siblings, source) for parent, siblings in children.items()}

    def place(module: str) -> list[int]:
        parts = module.split(".")
        return [ranks[".".join(parts[:i])][part] for i, part in enumerate(parts)]

    return sorted(modules, key=place)


def _ranked(siblings: Sequence[str], source: str) -> dict[str, int]:
    """Number the children of a module: they are numbered, or torchvision's, or there is only one."""
    for order in _SIBLINGS:
        if {*siblings} <= {*order}:
            return {name: order.index(name) for name in siblings}
    split = [re.fullmatch(r"(.*?)(\d{1,9})", name) for name in siblings]
    if len(siblings) > 1 and len({match and match[1] for match in split} | {None}) != 2:
        some = ", ".join(shortened(name)[1:-1] for name in siblings[:6])
        raise CheckpointError(
            f"{source} does not keep the order of its modules, and their names ({some}, ...) do not tell it: give a "
            "mapping= from modules to layers, or a .pth file"
        )
    return {name: int(match[2]) if match else 0 for name, match in zip(siblings, split, strict=True)}


def _check_epsilon(model: GraphLayer, source: str) -> None:
    epsilons = {layer.epsilon for _, layer in model.named_layers() if isinstance(layer, BatchNormalization)}
    if any(abs(epsilon / _TORCHVISION_EPSILON - 1) > 0.1 for epsilon in epsilons):
        found = ", ".join(f"{epsilon:g}" for epsilon in sorted(epsilons))
        raise CheckpointError(
            f"{source} is torchvision's MobileNetV2, trained with epsilon {_TORCHVISION_EPSILON:g} and symmetric "
            f"padding; the model has epsilon {found} and would predict something else: build it with "
            'variant="torchvision" (or give a mapping= to load the weights all the same)'
        )
