"""One optimizer step over all parameters of a model, in NumPy. The formulas are Keras 3's."""

import math
from collections.abc import Mapping, Sequence

import numpy as np


def optimizer_step(
    kind: str,
    values: Sequence[np.ndarray],
    grads: Sequence[np.ndarray],
    states: Sequence[Sequence[np.ndarray]],
    hyper: Mapping[str, float],
) -> None:
    """Update ``values`` and ``states`` in place, one step.

    With ``g = scale * grad`` and ``lr = learning_rate``, each parameter w is first decayed,
    ``w -= w * weight_decay * lr``, and then moved:

    =========  ==========================================================================================
    kind       step
    =========  ==========================================================================================
    sgd        ``w -= lr * g``, or with a velocity v: ``v = momentum * v - lr * g``, then ``w += v``
               (Nesterov: ``w += momentum * v - lr * g``)
    rmsprop    ``s = rho * s + (1 - rho) * g**2``; d = ``lr * g / sqrt(s + epsilon)``; ``w -= d``, or with
               momentum ``b = momentum * b + d``; ``w -= b``
    adam       ``m += (1 - beta_1) * (g - m)``; ``v += (1 - beta_2) * (g**2 - v)``;
               ``w -= alpha * m / (sqrt(v) + epsilon)``,
               ``alpha = lr * sqrt(1 - beta_2**step) / (1 - beta_1**step)``
    adamw      the same: its weight decay is the decoupled one every kind has
    adagrad    ``a += g**2``; ``w -= lr * g / sqrt(a + epsilon)``
    =========  ==========================================================================================

    Args:
        kind: ``"sgd"``, ``"rmsprop"``, ``"adam"``, ``"adamw"`` or ``"adagrad"``.
        values: parameters, writable; float32 or float64.
        grads: their gradients: same shapes and dtypes; not changed.
        states: per parameter its arrays: sgd ``[v]`` or ``[]``; rmsprop ``[s]`` or ``[s, b]``; adam and adamw
            ``[m, v]``; adagrad ``[a]``.
        hyper: ``learning_rate``, ``weight_decay`` (0 for none), ``scale`` (a factor for all gradients, 1 for none)
            and what the kind needs of ``momentum``, ``nesterov`` (0 or 1), ``rho``, ``epsilon``, ``beta_1``,
            ``beta_2``, ``step`` (1 in the first step).

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in _STEPS:
        raise ValueError(f"unknown optimizer kind {kind!r}; known: {', '.join(_STEPS)}")
    step = _STEPS[kind]
    for value, grad, state in zip(values, grads, states, strict=True):
        g = grad * value.dtype.type(hyper["scale"]) if hyper["scale"] != 1 else grad
        if hyper["weight_decay"]:
            value -= value * (hyper["weight_decay"] * hyper["learning_rate"])
        step(value, g, state, hyper)


def _sgd(w: np.ndarray, g: np.ndarray, state: Sequence[np.ndarray], hyper: Mapping[str, float]) -> None:
    lr = hyper["learning_rate"]
    if not state:
        w -= lr * g
        return
    (v,) = state
    v *= hyper["momentum"]
    v -= lr * g
    w += hyper["momentum"] * v - lr * g if hyper["nesterov"] else v


def _rmsprop(w: np.ndarray, g: np.ndarray, state: Sequence[np.ndarray], hyper: Mapping[str, float]) -> None:
    s, rho = state[0], hyper["rho"]
    s *= rho
    s += (1 - rho) * np.square(g)
    update = hyper["learning_rate"] * g / np.sqrt(s + hyper["epsilon"])
    if len(state) == 2:
        b = state[1]
        b *= hyper["momentum"]
        b += update
        update = b
    w -= update


def _adam(w: np.ndarray, g: np.ndarray, state: Sequence[np.ndarray], hyper: Mapping[str, float]) -> None:
    m, v = state
    beta_1, beta_2, step = hyper["beta_1"], hyper["beta_2"], hyper["step"]
    alpha = hyper["learning_rate"] * math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    m += (1 - beta_1) * (g - m)
    v += (1 - beta_2) * (np.square(g) - v)
    w -= alpha * m / (np.sqrt(v) + hyper["epsilon"])


def _adagrad(w: np.ndarray, g: np.ndarray, state: Sequence[np.ndarray], hyper: Mapping[str, float]) -> None:
    (a,) = state
    a += np.square(g)
    w -= hyper["learning_rate"] * g / np.sqrt(a + hyper["epsilon"])


_STEPS = {"sgd": _sgd, "rmsprop": _rmsprop, "adam": _adam, "adamw": _adam, "adagrad": _adagrad}
