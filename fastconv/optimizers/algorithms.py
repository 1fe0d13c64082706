"""SGD, RMSprop, Adam, AdamW and Adagrad, with Keras' arguments and defaults.

The formulas stand in :func:`fastconv.reference.optimizer_step`.
"""

from typing import Any, ClassVar

from .base import LearningRate, Optimizer
from .schedules import positive


class SGD(Optimizer):
    """Stochastic gradient descent, plain or with (Nesterov) momentum (Sutskever et al., ICML 2013).

    Args:
        learning_rate: number or schedule.
        momentum: in [0, 1]; 0 is plain gradient descent.
        nesterov: look ahead along the velocity.
        weight_decay, clipnorm, clipvalue, global_clipnorm: see :class:`Optimizer`.
    """

    kind: ClassVar[str] = "sgd"

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self.momentum, self.nesterov = _fraction(momentum, "momentum", one_allowed=True), bool(nesterov)

    def slot_names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def hyperparameters(self) -> dict[str, float]:
        return {"momentum": self.momentum, "nesterov": float(self.nesterov)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


class RMSprop(Optimizer):
    """Divide each gradient by a moving root mean square of its past (Hinton, Coursera lecture 6e, 2012).

    Args:
        learning_rate: number or schedule.
        rho: in [0, 1): how slowly the mean of squares forgets.
        momentum: in [0, 1].
        epsilon: positive, added to the mean of squares under the root.
        weight_decay, clipnorm, clipvalue, global_clipnorm: see :class:`Optimizer`.
    """

    kind: ClassVar[str] = "rmsprop"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self.rho, self.momentum = _fraction(rho, "rho"), _fraction(momentum, "momentum", one_allowed=True)
        self.epsilon = positive(epsilon, "epsilon")

    def slot_names(self) -> tuple[str, ...]:
        return ("velocity", "momentum") if self.momentum else ("velocity",)

    def hyperparameters(self) -> dict[str, float]:
        return {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}


class Adam(Optimizer):
    """Moving means of gradient and squared gradient, corrected for their start at 0 (Kingma and Ba, arXiv:1412.6980).

    Args:
        learning_rate: number or schedule.
        beta_1, beta_2: in [0, 1): how slowly the two means forget.
        epsilon: positive, added to the root; it is the paper's "epsilon hat", as in Keras.
        weight_decay, clipnorm, clipvalue, global_clipnorm: see :class:`Optimizer`.
    """

    kind: ClassVar[str] = "adam"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self.beta_1, self.beta_2 = _fraction(beta_1, "beta_1"), _fraction(beta_2, "beta_2")
        self.epsilon = positive(epsilon, "epsilon")

    def slot_names(self) -> tuple[str, ...]:
        return ("momentum", "velocity")

    def hyperparameters(self) -> dict[str, float]:
        return {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


class AdamW(Adam):
    """Adam with decoupled weight decay, 0.004 by default (Loshchilov and Hutter, arXiv:1711.05101)."""

    kind: ClassVar[str] = "adamw"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, clipnorm, clipvalue, global_clipnorm)
        if self.weight_decay is None:
            raise ValueError("AdamW is Adam with weight decay; weight_decay cannot be None")


class Adagrad(Optimizer):
    """Divide each gradient by the root of the sum of its past squares (Duchi et al., JMLR 12, 2011).

    Args:
        learning_rate: number or schedule.
        initial_accumulator_value: what the sums start with, >= 0.
        epsilon: positive, added to the sum under the root.
        weight_decay, clipnorm, clipvalue, global_clipnorm: see :class:`Optimizer`.
    """

    kind: ClassVar[str] = "adagrad"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm)
        self.initial_accumulator_value = positive(
            initial_accumulator_value, "initial_accumulator_value", zero_allowed=True
        )
        self.epsilon = positive(epsilon, "epsilon")

    def slot_names(self) -> tuple[str, ...]:
        return ("accumulator",)

    def slot_start(self) -> float:
        return self.initial_accumulator_value

    def hyperparameters(self) -> dict[str, float]:
        return {"epsilon": self.epsilon}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }


def _fraction(value: Any, name: str, one_allowed: bool = False) -> float:
    number = positive(value, name, zero_allowed=True)
    if number > 1 or (number == 1 and not one_allowed):
        raise ValueError(f"{name} must lie in [0, 1{']' if one_allowed else ')'}, got {value}")
    return number
