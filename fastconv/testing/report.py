"""What :func:`gradcheck` found, to print and to grade by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class TensorReport:
    """What the check found for one input or parameter.

    Attributes:
        name: ``"input"``, ``"input 1"``, ... or the parameter's path, e.g. ``"conv2d/kernel"``.
        shape: of the tensor.
        checked: number of elements compared.
        nonzero: number of elements whose derivative is not 0, as far as backward or the comparison can tell.
        skipped: number of elements left out because a kink (of a ReLU, a max, ...) was too near.
        worst: index of the element that differs most, as a multiple of the tolerance; None if none was compared.
        expected: its numerical derivative.
        got: what backward returned for it.
        error: ``|got - expected|`` there.
        excess: the same as a multiple of the tolerance; -1 if nothing was compared.
        problem: why the check failed, or "".
    """

    name: str
    shape: tuple[int, ...]
    checked: int = 0
    nonzero: int = 0
    skipped: int = 0
    worst: tuple[int, ...] | None = None
    expected: float = math.nan
    got: float = math.nan
    error: float = 0.0
    problem: str = ""
    excess: float = field(default=-1.0, repr=False)

    @property
    def passed(self) -> bool:
        """Whether backward's gradient agrees."""
        return not self.problem

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        text = f"{'ok    ' if self.passed else 'WRONG '} {self.name} ({shape}): {self.checked} elements"
        if self.skipped:
            text += f", {self.skipped} skipped at kinks"
        if self.worst is not None:
            index = ", ".join(map(str, self.worst))
            text += f"; worst [{index}]: expected {self.expected:.9g}, got {self.got:.9g} (off by {self.error:.2g})"
        if self.checked and not self.nonzero:
            text += "; every derivative is 0"
        return f"{text}; {self.problem}" if self.problem else text


@dataclass
class GradcheckReport:
    """The result of :func:`gradcheck`: true if all gradients agree; prints as a table.

    Attributes:
        label: what was checked.
        tensors: a :class:`TensorReport` per input and trainable parameter.
    """

    label: str
    tensors: list[TensorReport]

    @property
    def passed(self) -> bool:
        """Whether every gradient agrees, and something was tested."""
        return all(tensor.passed for tensor in self.tensors) and not self.vacuous

    @property
    def vacuous(self) -> bool:
        """Whether every derivative that was compared is 0, as in a network whose ReLUs are all off."""
        compared = [tensor for tensor in self.tensors if tensor.checked]
        return bool(compared) and not any(tensor.nonzero for tensor in compared)

    def __bool__(self) -> bool:
        return self.passed

    def __getitem__(self, name: str) -> TensorReport:
        """Return the report of one input or parameter by name."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(f"no {name!r}; there are: {', '.join(tensor.name for tensor in self.tensors)}")

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        if self.vacuous:
            verdict += ": every derivative is 0, so nothing was tested; try another seed, or more units"
        return "\n".join([f"gradcheck of {self.label}: {verdict}", *(f"  {tensor}" for tensor in self.tensors)])

    def raise_if_failed(self) -> None:
        """Raise AssertionError with the table unless everything agrees."""
        if not self.passed:
            raise AssertionError(str(self))
