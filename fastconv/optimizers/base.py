"""What all optimizers share: learning rate, weight decay, gradient clipping, state, the step itself."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..interrupts import uninterrupted
from ..layers.parameter import Change, Parameter
from ..registry import Configurable
from . import schedules
from .schedules import positive

LearningRate = float | Callable[[int], float]


class Optimizer(Configurable):
    """Base class.

    A subclass names its formula (``kind``, see :func:`fastconv.reference.optimizer_step`), the arrays it keeps per
    parameter (:meth:`slot_names`) and the numbers of its formula (:meth:`hyperparameters`). One with a formula of
    its own overrides :meth:`apply`.

    Args:
        learning_rate: a positive number, or a schedule ``step -> number``.
        weight_decay: decoupled decay: each step takes ``weight * weight_decay * learning_rate`` off every weight;
            None for none.
        clipnorm: scale each gradient whose L2 norm is larger down to this norm.
        clipvalue: clip each gradient element to [-clipvalue, clipvalue].
        global_clipnorm: scale all gradients together so that their joint L2 norm is at most this.

    Raises:
        ValueError: a number out of range, or more than one kind of clipping. TypeError: not a number.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        clipping = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = [name for name, value in clipping.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"only one kind of gradient clipping can be set, got {' and '.join(given)}")
        for name in given:
            positive(clipping[name], name)
        if isinstance(learning_rate, dict):
            learning_rate = schedules.get(learning_rate)
        self._learning_rate: LearningRate = (
            learning_rate if callable(learning_rate) else positive(learning_rate, "learning_rate")
        )
        self.weight_decay = None if weight_decay is None else positive(weight_decay, "weight_decay", zero_allowed=True)
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.iterations = 0
        self.slots: dict[Parameter, list[np.ndarray]] = {}

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step. Assigning a number >= 0 changes it; a schedule cannot be changed."""
        if callable(self._learning_rate):
            return float(self._learning_rate(self.iterations))
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if callable(self._learning_rate):
            raise TypeError("this optimizer's learning rate follows a schedule and cannot be set")
        self._learning_rate = positive(value, "learning_rate", zero_allowed=True)

    def slot_names(self) -> tuple[str, ...]:
        """Name the arrays kept per parameter, e.g. ``("momentum", "velocity")``."""
        return ()

    def slot_start(self) -> float:
        """Return the value these arrays start with."""
        return 0.0

    def hyperparameters(self) -> dict[str, float]:
        """Return the numbers of the formula, beside learning rate, weight decay and gradient scale."""
        return {}

    def build(self, parameters: Iterable[Parameter]) -> None:
        """Allocate the arrays of parameters that have none yet."""
        for parameter in parameters:
            if parameter not in self.slots:
                self.slots[parameter] = [
                    np.full(parameter.shape, self.slot_start(), parameter.dtype) for _ in self.slot_names()
                ]

    def apply(self, parameters: Sequence[Parameter]) -> None:
        """Make one step: update every parameter by its ``grad``; parameters without a gradient stay as they are.

        An error, or Ctrl-C, comes before anything has changed, or once the step is done and counted.
        """
        parameters = [parameter for parameter in parameters if parameter.grad is not None]
        grads = [np.ascontiguousarray(parameter.grad) for parameter in parameters]
        self.build(parameters)
        grads, scale = self._clip(grads)
        # The dict in the kernel's terms: one call updates the whole model.
        hyper = {
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay or 0.0,
            "scale": scale,
            "step": self.iterations + 1,
            **self.hyperparameters(),
        }
        values = [parameter._storage for parameter in parameters]
        states = [self.slots[parameter] for parameter in parameters]
        with uninterrupted(), Change(*parameters):
            ops.optimizer_step(self.kind, values, grads, states, hyper)
            self.iterations += 1

    def _clip(self, grads: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
        """Return the gradients, clipped where that is per parameter, and the factor that is common to all."""
        if self.clipvalue is not None:
            return [np.clip(grad, -self.clipvalue, self.clipvalue) for grad in grads], 1.0
        if self.clipnorm is not None:
            return [grad * grad.dtype.type(self.clipnorm / max(_norm(grad), self.clipnorm)) for grad in grads], 1.0
        if self.global_clipnorm is not None:
            norm = math.hypot(*(_norm(grad) for grad in grads))
            # NaN must reach the weights, and max(NaN, x) could hide it.
            return grads, math.nan if math.isnan(norm) else self.global_clipnorm / max(norm, self.global_clipnorm)
        return grads, 1.0

    def get_config(self) -> dict[str, Any]:
        rate = self._learning_rate
        return {
            "learning_rate": schedules.serialize(rate) if callable(rate) else rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
        }

    @classmethod
    def from_config(cls, config: Any) -> "Optimizer":
        """Build an optimizer from :meth:`get_config`'s dict; its learning rate may have reached 0."""
        config = dict(config)
        rate = config.pop("learning_rate")
        if isinstance(rate, (dict, str)):
            return cls(schedules.get(rate), **config)
        optimizer = cls(**config)
        optimizer.learning_rate = rate
        return optimizer


def _norm(grad: np.ndarray) -> float:
    flat = grad.reshape(-1)
    return math.sqrt(float(np.dot(flat, flat)))
