"""Sets a model's weights from those of a PyTorch module."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import CheckpointError, shortened
from ..graph.layer import GraphLayer
from ._assign import Assignment, commit
from .safetensors_file import is_safetensors, read_safetensors
from .torch_file import read_torch_file
from .torch_layers import Unit, units_of
from .torch_names import definition_order, known_network

_IGNORED = "num_batches_tracked"  # of batch normalisation; counts steps, changes no prediction
_PREFIX = "module."  # of a module that torch.nn.DataParallel wrapped

Weights = Mapping[str, Any]
Modules = dict[str, dict[str, np.ndarray]]  # module -> weight -> values, in the file's order


def load_torch_weights(
    model: GraphLayer,
    weights: str | os.PathLike[str] | Weights,
    mapping: Mapping[str, str | None] | None = None,
) -> None:
    """Set a model's weights from a PyTorch state dict, converting PyTorch's layouts.

    Which module belongs to which layer: by table for torchvision's ResNet and MobileNetV2; by name if each module's
    (dots read as slashes) is a layer's; otherwise one after another, modules in the file's order and layers in the
    order of the graph. Convolutions, batch normalisation, dense layers, PReLU and transposed convolutions are known;
    a SeparableConv2D is two modules. A dense layer behind a Flatten takes its inputs in another order, which is
    converted. ``num_batches_tracked`` is ignored, a prefix ``module.`` common to all names is dropped. A safetensors
    file does not keep the order of the module; it is found again where names are numbered.

    Args:
        model: built.
        weights: path of a ``.pth``, ``.pt`` or ``.safetensors`` file, or a dict from names to arrays (or tensors).
        mapping: module -> layer, e.g. ``{"features.0": "conv1"}``, where the rules above do not find it; a layer in a
            nested model is ``"outer/inner"``, the halves of a separable convolution ``"name/depthwise"`` and
            ``"name/pointwise"``. None in place of a layer leaves that module out. Modules that are not mentioned are
            matched by the rules above among the remaining layers.

    Raises:
        CheckpointError: a damaged or hostile file; weights that are missing, extra or misshaped, all named. The model
            is unchanged.
        RuntimeError: the model is not built. OSError: the file cannot be read.
        ValueError: a mapping that names a module or a layer that does not exist, or a layer twice.
    """
    model.graph  # raises if the model is not built  # noqa: B018
    tensors, source, ordered = _tensors(weights)
    modules = _modules(tensors)
    units = {unit.path: unit for unit in units_of(model)}
    pairs, problems = _paired(modules, units, mapping, model, source, ordered)
    assignments: list[Assignment] = []
    for module, unit in pairs:
        _match(module, modules[module], unit, assignments, problems)
    commit(source, assignments, problems)


def _tensors(weights: str | os.PathLike[str] | Weights) -> tuple[dict[str, np.ndarray], str, bool]:
    """Return arrays, what messages call their source, and whether their order is that of the module."""
    if isinstance(weights, Mapping):
        return {str(name): _array(name, value) for name, value in weights.items()}, "the state dict", True
    source = os.fspath(weights)
    if is_safetensors(source):
        return read_safetensors(source), source, False
    return read_torch_file(source), source, True


def _array(name: object, value: Any) -> np.ndarray:
    """A NumPy array, or what turns into one: a PyTorch tensor, on the CPU and detached."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise CheckpointError(f"{shortened(str(name))} is not an array of numbers but a {type(value).__name__}")
    return array


def _modules(tensors: Mapping[str, np.ndarray]) -> Modules:
    strip = len(_PREFIX) if tensors and all(name.startswith(_PREFIX) for name in tensors) else 0
    modules: Modules = {}
    for name, array in tensors.items():
        module, _, weight = name[strip:].rpartition(".")
        if weight != _IGNORED:
            modules.setdefault(module, {})[weight] = array
    return modules


def _paired(
    modules: Modules,
    units: Mapping[str, Unit],
    mapping: Mapping[str, str | None] | None,
    model: GraphLayer,
    source: str,
    ordered: bool,
) -> tuple[list[tuple[str, Unit]], list[str]]:
    """Return which module goes to which unit, and what is left over on either side."""
    given = _checked_mapping(mapping or {}, modules, units)
    names = [module for module in modules if module not in given]
    taken = {*given.values()}
    free = {path: unit for path, unit in units.items() if path not in taken}
    pairs = [(module, units[path]) for module, path in given.items() if path is not None]
    table = known_network(names, free, None if mapping else model, source)
    if table is None and all(name.replace(".", "/") in free for name in names):
        table = {name: name.replace(".", "/") for name in names}
    if table is None:
        names = names if ordered else definition_order(names, source)
        problems = _counted(names, list(free.values()), modules)
        return pairs + (list(zip(names, free.values(), strict=True)) if not problems else []), problems
    found = {module: path for module, path in table.items() if path in free}
    problems = [f"extra: {_named(module, modules)}" for module in names if module not in found]
    problems += [f"missing: {unit.label}" for path, unit in free.items() if path not in found.values()]
    return pairs + [(module, free[path]) for module, path in found.items()], problems


def _checked_mapping(
    mapping: Mapping[str, str | None], modules: Modules, units: Mapping[str, Unit]
) -> dict[str, str | None]:
    for module, path in mapping.items():
        if module not in modules:
            raise ValueError(f"mapping: there is no module {module!r} in the file; there are: {_listed(list(modules))}")
        if path is not None and path not in units:
            raise ValueError(f"mapping: the model has no layer with weights {path!r}; it has: {_listed(list(units))}")
    paths = [path for path in mapping.values() if path is not None]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise ValueError(f"mapping: several modules go to the same layer: {', '.join(twice)}")
    return dict(mapping)


def _counted(names: Sequence[str], units: Sequence[Unit], modules: Modules) -> list[str]:
    """Say what is wrong if the numbers of modules and layers differ: the first place where they part."""
    if len(names) == len(units):
        return []
    problem = f"the file has {len(names)} modules with weights, the model {len(units)} layers"
    for i, (name, unit) in enumerate(zip(names, units, strict=False)):
        trouble: list[str] = []
        _match(name, modules[name], unit, [], trouble)
        if trouble:
            return [f"{problem}; the first that differs, number {i}: {trouble[0]}"]
    shorter = min(len(names), len(units))
    extra = [_named(name, modules) for name in names[shorter:]]
    return [
        problem,
        *(f"extra: {name}" for name in extra),
        *(f"missing: {unit.label}" for unit in units[shorter:]),
    ]


def _match(
    module: str, weights: Mapping[str, np.ndarray], unit: Unit, assignments: list[Assignment], problems: list[str]
) -> None:
    """Convert a module's weights for a unit, or say why not."""
    prefix = shortened(module)[1:-1] + "." if module else ""
    for name in weights:
        if name not in unit.slots:
            problems.append(f"extra: {prefix}{name} {weights[name].shape}, which {unit.label} does not have")
    for name, slot in unit.slots.items():
        array = weights.get(name)
        if array is None:
            problems.append(f"missing: {prefix}{name} {slot.shape} for {unit.label}")
        elif array.shape != slot.shape:
            problems.append(f"{prefix}{name} has shape {array.shape}, {unit.label} wants {slot.shape}")
        else:
            assignments.append((prefix + name, slot.parameter, slot.convert(array)))


def _named(module: str, modules: Modules) -> str:
    shapes = ", ".join(f"{shortened(name)[1:-1]} {array.shape}" for name, array in modules[module].items())
    return f"{shortened(module)[1:-1] or 'the module itself'} ({shapes})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(shortened(name)[1:-1] for name in names[:12]) + (", ..." if len(names) > 12 else "")
