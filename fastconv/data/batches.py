"""From what a user passes to ``fit`` (arrays, an iterable, an endless generator) to batches.

A batch is ``(x, y, sample_weight)``: ``x`` a list with one array per model input, in the model's dtype; ``y`` a list
with one array per model output, or None; ``sample_weight`` a list like ``y``, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..checks import as_array
from ..errors import channels_first_hint


class Batch(NamedTuple):
    """One batch; see the module's description."""

    x: list[np.ndarray]
    y: list[np.ndarray] | None
    sample_weight: list[np.ndarray | None] | None

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.x[0])


class Ports(NamedTuple):
    """What a model takes and gives: names, shapes (batch first, None for unknown sizes) and dtypes."""

    input_names: Sequence[str]
    input_shapes: Sequence[tuple[int | None, ...]]
    input_dtypes: Sequence[str]
    output_names: Sequence[str]
    joint: bool = False  # one loss gets all targets, however many


PortsFor = Callable[[Any], Ports]


class Data(Protocol):
    """A source of batches."""

    @property
    def steps(self) -> int | None:
        """Batches an epoch, or None if that is only known at its end."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Iterate over the batches of an epoch."""


def as_inputs(x: Any, ports: Ports) -> list[np.ndarray]:
    """Return ``x`` as a list of arrays in the model's input order and dtypes, and check their shapes.

    Integers, booleans and floats of another width are cast, never scaled.

    Raises:
        ValueError: another number of inputs or another shape. TypeError: arrays that are not numbers.
    """
    arrays = split_by_name(x, ports.input_names, "input")
    check_inputs(arrays, ports)
    return cast(arrays, ports)


def check_inputs(arrays: Sequence[np.ndarray], ports: Ports) -> None:
    """Raise TypeError for arrays that are no numbers, ValueError for shapes that the model does not take."""
    for array, name, shape in zip(arrays, ports.input_names, ports.input_shapes, strict=True):
        if array.dtype.kind not in "biuf":
            raise TypeError(f'input "{name}" must be an array of numbers, got dtype {array.dtype}')
        if not fits(array.shape, shape):
            hint = ""
            if fits((*array.shape, 1), shape):
                hint = "; add the channel axis: x[..., np.newaxis]"
            elif fits((1, *array.shape), shape):
                hint = "; add the batch axis: x[np.newaxis]"
            elif array.ndim == 4 and fits(tuple(array.shape[axis] for axis in (0, 2, 3, 1)), shape):
                hint = channels_first_hint(array.shape, array.shape[1])
            raise ValueError(
                f'input "{name}" has shape {array.shape}, the model takes '
                f"({', '.join('N' if i == 0 else str(size) for i, size in enumerate(shape))}){hint}"
            )


def cast(arrays: Sequence[np.ndarray], ports: Ports) -> list[np.ndarray]:
    """Return the arrays in the dtypes of the model's inputs."""
    return [array.astype(dtype, copy=False) for array, dtype in zip(arrays, ports.input_dtypes, strict=True)]


def fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    """Whether an array's shape matches a model's; None matches every size."""
    return len(shape) == len(expected) and all(e is None or s == e for s, e in zip(shape, expected, strict=True))


def as_targets(y: Any, ports: Ports) -> list[np.ndarray]:
    """Return targets as a list of arrays in the order of the model's outputs; losses check and cast them."""
    if ports.joint:
        return [_array(item, "target") for item in (y if isinstance(y, (list, tuple)) else [y])]
    return split_by_name(y, ports.output_names, "target")


def as_weights(sample_weight: Any, ports: Ports) -> list[np.ndarray | None]:
    """Return sample weights as one array (or None) per output; a single array serves all outputs."""
    if isinstance(sample_weight, Mapping):
        _check_names(sample_weight, ports.output_names, "sample weight", all_needed=False)
        return [_array(sample_weight.get(name), "sample_weight") for name in ports.output_names]
    if isinstance(sample_weight, (list, tuple)) and len(ports.output_names) > 1:
        if len(sample_weight) != len(ports.output_names):
            raise ValueError(f"{len(sample_weight)} sample weights for {len(ports.output_names)} outputs")
        return [_array(weight, "sample_weight") for weight in sample_weight]
    return [_array(sample_weight, "sample_weight")] * len(ports.output_names)


def _array(value: Any, kind: str) -> Any:
    """Convert to an array; None stays None."""
    if value is None:
        return None
    try:
        return as_array(value, kind)
    except ValueError as error:
        hint = "; fastconv.data.ragged makes one of targets of different sizes" if kind == "target" else ""
        raise ValueError(f"{kind} is not an array of one shape: {error}{hint}") from None


def split_by_name(value: Any, names: Sequence[str], kind: str) -> list[np.ndarray]:
    """Return one array per name: ``value`` is a dict by name, a list in their order, or the only one's array."""
    if isinstance(value, Mapping):
        _check_names(value, names, kind, all_needed=True)
        return [_array(value[name], kind) for name in names]
    if isinstance(value, (list, tuple)) and (len(names) > 1 or (len(value) == 1 and isinstance(value[0], np.ndarray))):
        if len(value) != len(names):
            raise ValueError(f"the model has {len(names)} {kind}s ({', '.join(names)}), got {len(value)} arrays")
        return [_array(item, kind) for item in value]
    if len(names) > 1:
        raise ValueError(f"the model has {len(names)} {kind}s: give a list of arrays, or a dict of {', '.join(names)}")
    array = _array(value, kind)
    if array is None or array.ndim == 0:
        raise ValueError(f"{kind} must be an array with the samples along its first axis, got {value!r}")
    return [array]


def _check_names(value: Mapping[str, Any], names: Sequence[str], kind: str, all_needed: bool) -> None:
    unknown, missing = [name for name in value if name not in names], [name for name in names if name not in value]
    if unknown or (all_needed and missing):
        raise ValueError(f"the model's {kind}s are {', '.join(names)}; unknown: {unknown}, missing: {missing}")


def class_weights_of(y: Sequence[np.ndarray], class_weight: Mapping[int, float]) -> list[np.ndarray | None]:
    """Return the sample weights that a weight per class means; classes not in the dict weigh 1.

    Raises:
        ValueError: several outputs, or class numbers that are not integers >= 0. TypeError: no dict.
    """
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight must be a dict of class numbers and weights, got {class_weight!r}")
    if len(y) != 1:
        raise ValueError(f"class_weight needs a model with one output, this one has {len(y)}")
    if not class_weight or any(isinstance(c, bool) or int(c) != c or c < 0 for c in class_weight):
        raise ValueError(f"class_weight maps class numbers (integers >= 0) to weights, got {dict(class_weight)}")
    labels = y[0].argmax(axis=-1) if y[0].ndim > 1 and y[0].shape[-1] > 1 else y[0].reshape(len(y[0]), -1)[:, 0]
    if not np.array_equal(labels, labels.astype(np.int64)) or (labels.size and labels.min() < 0):
        raise ValueError("class_weight needs labels that are integers >= 0, or one-hot rows")
    table = np.ones(max(int(labels.max(initial=0)), max(int(c) for c in class_weight)) + 1)
    for number, weight in class_weight.items():
        table[int(number)] = weight
    return [table[labels.astype(np.int64)]]


def make_batch(x: Any, y: Any, sample_weight: Any, ports: Ports) -> Batch:
    """Return a batch from what a user passes.

    Raises:
        ValueError: arrays of different lengths, shapes that the model does not take. TypeError: not numbers.
    """
    batch = Batch(
        as_inputs(x, ports),
        None if y is None else as_targets(y, ports),
        None if sample_weight is None else as_weights(sample_weight, ports),
    )
    check_lengths([*batch.x, *(batch.y or []), *(batch.sample_weight or [])])
    return batch


def check_lengths(arrays: Iterable[np.ndarray | None]) -> None:
    """Raise ValueError unless all arrays have the same number of samples; None has any."""
    lengths = [len(array) for array in arrays if array is not None]
    if len(set(lengths)) > 1:
        raise ValueError(f"x, y and sample_weight must have the same number of samples, got {lengths}")


def check_count(value: Any, name: str) -> int:
    """Check a positive integer and return it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def ragged(items: Iterable[Any]) -> np.ndarray:
    """Return an array that holds one thing per sample, of any size, such as the boxes in each image.

    ``fit`` shuffles it, cuts it into batches, and hands it to the loss as it is::

        model.fit(images, ragged(boxes))  # a list of arrays (boxes in the image, 4)

    Returns:
        ``(N,)``, of Python objects.
    """
    things = list(items)
    array = np.empty(len(things), object)
    for i, thing in enumerate(things):
        array[i] = thing
    return array
