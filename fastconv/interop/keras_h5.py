"""Weights from Keras' HDF5 files: ``.h5``, as ``keras.applications`` publishes them, and ``.weights.h5`` of Keras 3."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from .. import layers as fastconv_layers
from ..errors import CheckpointError, shortened
from ..graph.layer import GraphLayer
from ..layers.base import Layer
from ..layers.parameter import Parameter
from ._assign import Assignment, commit
from .hdf5 import Hdf5File

# Names that Keras made up, of any version: type and counter. A name of the user's own has more meaning than an order.
_TYPES = {cls().type_name for cls in (fastconv_layers.ReLU, fastconv_layers.BatchNormalization)} | {
    "conv2d", "convolution2d", "depthwise_conv2d", "separable_conv2d", "separableconvolution2d", "conv2d_transpose",
    "batchnormalization", "batch_normalization_v1", "dense", "p_re_lu", "locally_connected2d", "sequential",
    "functional", "model",
}  # fmt: skip
_STATISTICS = ("gamma", "beta", "moving_mean", "moving_variance")
_OLD_NAMES = {"running_mean": "moving_mean", "running_std": "moving_variance"}


class _Entry(NamedTuple):
    """A layer's weights in the file, or in the model: its name, whether somebody chose that name, and where it is."""

    name: str
    chosen: bool
    item: Any


def load_keras_weights(model: GraphLayer, path: str | os.PathLike[str]) -> None:
    """Set a model's weights from a file that Keras wrote.

    Two layouts: that of ``keras.applications`` (weight files and whole models, ``model.save("x.h5")``), and that of
    Keras 3's ``save_weights("x.weights.h5")``. As in Keras, layers correspond in order, only those with weights
    counted; layers whose name was chosen, not made up by Keras, in both file and model correspond by name. float16
    and float64 values are converted to the model's dtype.

    Args:
        model: built; its layers in Keras' order and with Keras' shapes.
        path: of the file.

    Raises:
        CheckpointError: a damaged or hostile file, or one that does not fit; what is missing, extra or misshaped is
            named. The model is unchanged.
        ImportError: h5py is not installed (``pip install fastconv[interop]``).
        RuntimeError: the model is not built. OSError: the file cannot be read.
    """
    model.graph  # raises if the model is not built  # noqa: B018
    assignments: list[Assignment] = []
    problems: list[str] = []
    with Hdf5File(path) as file:
        for key in ("", "model_weights"):
            group = file.child(file.root, key) if key else file.root
            if group is not None and file.names(group, "layer_names") is not None:
                _legacy(file, group, model, assignments, problems)
                break
        else:
            keys = file.keys(file.root)
            key = next((k for k in ("layers", "_layer_checkpoint_dependencies") if k in keys), "")
            if not key:
                raise CheckpointError(
                    f"{file.name} has neither of Keras' layouts: no attribute layer_names, no group layers; it holds "
                    f"{', '.join(map(shortened, keys[:8])) or 'nothing'}"
                )
            _modern(file, file.group(file.root, key), model, "", assignments, problems)
    commit(path, assignments, problems)


# ---- the layout of keras.applications ----


def _legacy(file: Hdf5File, group: Any, model: GraphLayer, assignments: list[Assignment], problems: list[str]) -> None:
    if file.names(group, "backend") == ["theano"]:
        raise CheckpointError(f"{file.name} was written by Keras on Theano, which flips convolution kernels")
    stored = []
    names = file.names(group, "layer_names") or []
    if len(set(names)) < len(names):
        raise CheckpointError(f"{file.name}: its attribute layer_names lists a layer twice")
    for name in names:
        inner = file.group(group, name)
        weights = file.names(inner, "weight_names")
        if weights:
            stored.append(_Entry(name, _chosen(name), (inner, weights)))
    if "top_level_model_weights" in file.keys(group):
        own = file.names(file.group(group, "top_level_model_weights"), "weight_names")
        problems += [f"extra: {shortened(name)} of the model itself" for name in own or ()]
    for entry, (name, layer) in _paired(stored, model, problems):
        inner, weights = entry.item
        orders = _legacy_orders(layer)
        if len(weights) != len(orders[0]):
            expected = ", ".join(f"{p.name} {p.shape}" for p in orders[0])
            problems.append(
                f'layer "{name}" has {len(orders[0])} weights ({expected}), {shortened(entry.name)} in the file '
                f"{len(weights)} ({', '.join(shortened(weight) for weight in weights[:6])})"
            )
            continue
        shapes = [file.shape(inner, weight) for weight in weights]
        order = max(orders, key=lambda o: _fitness(o, weights, shapes))
        for parameter, weight, shape in zip(order, weights, shapes, strict=True):
            _take(file, inner, weight, shape, f'layer "{name}"', parameter, assignments, problems)


def _legacy_orders(layer: Layer) -> list[list[Parameter]]:
    """All weights of a layer in the orders in which Keras may have listed them.

    In this layout the trainable weights come first: of a nested model, those of all its layers. A frozen model has
    them layer by layer.
    """
    trainable: dict[Parameter, None] = {}
    state: dict[Parameter, None] = {}
    for _, inner in layer.named_layers():
        trainable |= dict.fromkeys(inner._trainable_parameters)
        state |= dict.fromkeys(inner._state_parameters)
    return [[*trainable, *state], layer.parameters]


def _fitness(order: Sequence[Parameter], names: Sequence[str], shapes: Sequence[Any]) -> int:
    fits = [
        2 * (p.shape == shape) + (p.name == _base(name)) for p, name, shape in zip(order, names, shapes, strict=True)
    ]
    return sum(fits)


def _base(name: str) -> str:
    """The weight's own name: ``"gamma"`` of ``"bn_1/gamma:0"``, and of ``"bn_1_gamma"`` in old files."""
    last = name.rpartition("/")[2].partition(":")[0]
    last = _OLD_NAMES.get(last, last)
    return next((word for word in _STATISTICS if last.endswith(f"_{word}")), last)


# ---- the layout of Keras 3 ----


def _modern(
    file: Hdf5File, group: Any, model: GraphLayer, prefix: str, assignments: list[Assignment], problems: list[str]
) -> None:
    """``<type>_<number>/vars/0``, 1, ... for each layer, and ``<type>_<number>/layers/...`` for a nested model."""
    stored: dict[str, list[_Entry]] = {}
    for key in sorted(file.keys(group), key=_type_and_number):
        inner = file.group(group, key)
        if _has_weights(file, inner):
            name = (file.names(file.group(inner, "vars"), "name") or [""])[0] if "vars" in file.keys(inner) else ""
            stored.setdefault(_type_and_number(key)[0], []).append(_Entry(name or key, _chosen(name), inner))
    types = {layer.type_name for layer in model.graph.layers}
    for kind in [*stored, *sorted(types - {*stored})]:

        def of_this_type(layer: Layer, kind: str = kind) -> bool:
            return layer.type_name == kind

        for entry, (name, layer) in _paired(stored.get(kind, []), model, problems, of_this_type):
            where = f"{prefix}{name}"
            if isinstance(layer, GraphLayer):
                _modern(file, file.group(entry.item, "layers"), layer, f"{where}/", assignments, problems)
            elif layer.sublayers():
                problems.append(f'layer "{where}" is made of layers; only models in models are read')
            else:
                _variables(file, entry, where, layer, assignments, problems)


def _variables(
    file: Hdf5File, entry: _Entry, where: str, layer: Layer, assignments: list[Assignment], problems: list[str]
) -> None:
    variables = file.group(entry.item, "vars")
    keys, parameters = file.keys(variables), layer.parameters
    if sorted(keys) != sorted(str(i) for i in range(len(parameters))):
        expected = ", ".join(f"{p.name} {p.shape}" for p in parameters)
        problems.append(
            f'layer "{where}" has {len(parameters)} weights ({expected}), {shortened(entry.name)} in the file '
            f"{len(keys)}"
        )
        return
    for i, parameter in enumerate(parameters):
        shape = file.shape(variables, str(i))
        _take(file, variables, str(i), shape, f'layer "{where}"', parameter, assignments, problems)


def _has_weights(file: Hdf5File, group: Any) -> bool:
    """Whether a layer has weights, itself or, as a model, in its layers."""
    waiting, seen = [group], 0
    while waiting:
        inner = waiting.pop()
        seen += 1
        if seen > 2_000:  # a hard link to a group above makes an endless tree
            raise CheckpointError(f"{file.name}: {shortened(group.name)} contains more than 2,000 groups, or itself")
        variables = file.child(inner, "vars")
        if variables is not None and file.keys(variables):
            return True
        nested = file.child(inner, "layers")
        if nested is not None:
            waiting += [file.group(nested, key) for key in file.keys(nested)]
    return False


def _type_and_number(key: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+?)_(\d{1,9})", key)
    return (match[1], int(match[2])) if match else (key, 0)


# ---- what both share ----


def _chosen(name: str) -> bool:
    """Whether somebody chose this name; Keras' own are a type and a number."""
    return bool(name) and _type_and_number(name)[0] not in _TYPES


def _paired(
    stored: Sequence[_Entry],
    model: GraphLayer,
    problems: list[str],
    wanted: Callable[[Layer], bool] = lambda layer: True,
) -> Iterable[tuple[_Entry, tuple[str, Layer]]]:
    """Pair layers with weights of the file and of the model: by name where both were chosen, the rest in order.

    Unequal numbers are a problem, told by name.
    """
    here = {
        name: _Entry(name, not layer.auto_named, layer)
        for layer, name in ((layer, model.graph.names[layer]) for layer in model.graph.layers)
        if layer.parameters and wanted(layer)
    }
    there = {entry.name: entry for entry in stored}
    same = [n for n, entry in there.items() if entry.chosen and n in here and here[n].chosen]
    rest_there = [entry for entry in stored if entry.name not in same]
    rest_here = [entry for entry in here.values() if entry.name not in same]
    if len(rest_there) != len(rest_here):
        problems.append(f"the file has {len(stored)} layers with weights, the model {len(here)}")
        problems += [f"extra: {shortened(e.name)}" for e in rest_there if e.name not in here]
        problems += [f'missing: "{e.name}"' for e in rest_here if e.name not in there]
        return []
    pairs = [(there[name], here[name]) for name in same] + list(zip(rest_there, rest_here, strict=True))
    return [(theirs, (ours.name, ours.item)) for theirs, ours in pairs]


def _take(
    file: Hdf5File,
    group: Any,
    name: str,
    shape: tuple[int, ...] | None,
    where: str,
    parameter: Parameter,
    assignments: list[Assignment],
    problems: list[str],
) -> None:
    """Read one weight, if its shape is the parameter's."""
    base = _base(name)
    if shape is None:
        problems.append(f"missing: {shortened(name)} for {parameter.name} of {where}")
    elif shape != parameter.shape:
        problems.append(
            f"{parameter.name} of {where} has shape {parameter.shape}, {shortened(name)} in the file has {shape}"
        )
    elif base in _STATISTICS and parameter.name in _STATISTICS and base != parameter.name:
        problems.append(f"{parameter.name} of {where} would come from {shortened(name)}")
    else:
        assignments.append((f"{shortened(name)} for {where}", parameter, file.array(group, name)))
