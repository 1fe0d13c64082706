"""Learning rates that change with the step: Keras' schedules, by its names and formulas.

A schedule is a callable ``step -> learning rate``, steps counted from 0. It may reach 0, but not begin there.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import Any

from ..registry import Configurable, by_name, resolve, serialize

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "get",
    "serialize",
]


class LearningRateSchedule(Configurable):
    """Base class of schedules: override ``__call__`` and ``get_config``."""

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step; the first step is 0."""
        raise NotImplementedError


class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``; ``staircase`` floors the quotient."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = positive(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = positive(decay_steps, "decay_steps")
        self.decay_rate = positive(decay_rate, "decay_rate")
        self.staircase = bool(staircase)

    def __call__(self, step: int) -> float:
        exponent = step / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (math.floor(exponent) if self.staircase else exponent)

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
        }


class InverseTimeDecay(ExponentialDecay):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``; ``staircase`` floors the quotient."""

    def __call__(self, step: int) -> float:
        time = step / self.decay_steps
        return self.initial_learning_rate / (1 + self.decay_rate * (math.floor(time) if self.staircase else time))


class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[0]`` up to and including step ``boundaries[0]``, then ``values[1]`` up to ``boundaries[1]``, ...

    Args:
        boundaries: increasing steps.
        values: learning rates, one more than boundaries; the first positive, the others not negative.
    """

    def __init__(self, boundaries: Sequence[int], values: Sequence[float]) -> None:
        if len(values) != len(boundaries) + 1:
            raise ValueError(f"{len(boundaries)} boundaries need {len(boundaries) + 1} values, got {len(values)}")
        if any(low >= high for low, high in itertools.pairwise(boundaries)):
            raise ValueError(f"boundaries must increase, got {list(boundaries)}")
        positive(values[0], "values[0]")
        self.boundaries = list(boundaries)
        self.values = [positive(value, "values", zero_allowed=True) for value in values]

    def __call__(self, step: int) -> float:
        return self.values[bisect.bisect_left(self.boundaries, step)]

    def get_config(self) -> dict[str, Any]:
        return {"boundaries": self.boundaries, "values": self.values}


class PolynomialDecay(LearningRateSchedule):
    """From ``initial_learning_rate`` to ``end_learning_rate`` in ``decay_steps``, as ``(1 - progress) ** power``.

    With ``cycle`` the decay starts again, stretched, whenever it is through.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
    ) -> None:
        self.initial_learning_rate = positive(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = positive(decay_steps, "decay_steps")
        self.end_learning_rate = positive(end_learning_rate, "end_learning_rate", zero_allowed=True)
        self.power, self.cycle = positive(power, "power"), bool(cycle)

    def __call__(self, step: int) -> float:
        length = self.decay_steps
        if self.cycle:
            length *= max(1, math.ceil(step / self.decay_steps))
        progress = min(step, length) / length
        span = self.initial_learning_rate - self.end_learning_rate
        return span * (1 - progress) ** self.power + self.end_learning_rate

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "end_learning_rate": self.end_learning_rate,
            "power": self.power,
            "cycle": self.cycle,
        }


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate to ``alpha`` times it (Loshchilov and Hutter, arXiv:1608.03983).

    Args:
        initial_learning_rate: the rate of step 0; may be 0 when there is a warm-up.
        decay_steps: length of the decay.
        alpha: what remains, as a fraction of where the decay starts.
        warmup_target: if given, the rate first grows linearly to this value and decays from there.
        warmup_steps: length of the warm-up.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        warms_up = warmup_target is not None and warmup_steps > 0
        self.initial_learning_rate = positive(initial_learning_rate, "initial_learning_rate", zero_allowed=warms_up)
        self.decay_steps = positive(decay_steps, "decay_steps")
        self.alpha = positive(alpha, "alpha", zero_allowed=True)
        self.warmup_target = None if warmup_target is None else positive(warmup_target, "warmup_target")
        self.warmup_steps = positive(warmup_steps, "warmup_steps", zero_allowed=True)

    def __call__(self, step: int) -> float:
        peak = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return peak + (self.warmup_target - peak) * step / self.warmup_steps
            peak, step = self.warmup_target, step - int(self.warmup_steps)
        progress = min(step, self.decay_steps) / self.decay_steps
        return peak * ((1 - self.alpha) * 0.5 * (1 + math.cos(math.pi * progress)) + self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
            "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }


def positive(value: Any, name: str, zero_allowed: bool = False) -> float:
    """Check a positive (or, with ``zero_allowed``, non-negative) finite number and return it."""
    try:
        number = float(value)
    except TypeError:
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if isinstance(value, (bool, str)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (number > 0 or (zero_allowed and number == 0)) or math.isinf(number):
        raise ValueError(f"{name} must be a finite number {'>= 0' if zero_allowed else '> 0'}, got {value}")
    return number


_TABLE = by_name(ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay, CosineDecay)


def get(identifier: Any) -> LearningRateSchedule:
    """Return a schedule from its name-and-config description, or the schedule itself."""
    return resolve(identifier, _TABLE, "learning-rate schedule")
