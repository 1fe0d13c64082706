"""Layers, losses, optimizers, models and pictures with hostile arguments: constructors, data and gradients."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv import layers, losses, optimizers, preprocessing, utils
from fastconv.models import Input, Model, Sequential

Array = np.ndarray[Any, Any]
IMAGE = (7, 8, 6)

#: Arguments that have no default, or one that would leave the layer with little to do.
_GIVEN: dict[str, Any] = {
    "filters": 4, "units": 5, "kernel_size": (3, 2), "pool_size": 2, "rate": 0.3, "activation": "relu", "scale": 0.5,
    "target_shape": (-1, 2), "seed": 3, "size": (2, 1), "cropping": 1, "shared_axes": (1, 2),
}  # fmt: skip
#: Other arguments for some layers.
_OWN: dict[str, dict[str, Any]] = {
    "BatchNormalization": {"scale": True},
    "MaxUnpool2D": {"strides": None},
}
#: Aliases, bases, and what takes several inputs (its own case below).
_NOT_ALONE = ("Layer", "Input", "InputLayer", "Parameter", "Add", "Multiply", "Concatenate", "MaxUnpool2D")


@functools.cache
def layer_arguments() -> dict[str, dict[str, Any]]:
    """Class name -> keywords of its constructor, for every layer with one input."""
    table = {}
    for name in layers.__all__:
        cls = getattr(layers, name)
        if inspect.isclass(cls) and cls.__name__ == name and name not in _NOT_ALONE:
            table[name] = _defaults(cls) | {"name": None, "trainable": True, "dtype": "float32"}
    return table


def _defaults(function: Callable[..., Any], **given: Any) -> dict[str, Any]:
    """The keywords of a call: the defaults, and for what has none, or a better one, ``_GIVEN``."""
    own = {**_GIVEN, **_OWN.get(getattr(function, "__name__", ""), {}), **given}
    keywords = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD and parameter.name != "unknown":
            default = parameter.default
            keywords[parameter.name] = own.get(parameter.name, None if default is parameter.empty else default)
    return keywords


def image(batch: int = 2) -> Array:
    return np.random.default_rng(1).standard_normal((batch, *IMAGE)).astype(np.float32)


def _layer(cls: type[Any]) -> Callable[..., Any]:
    """Make a layer and use it: on an array, forward and backward, described, in a model."""

    def use(x: Any, dy: Any, shape: Any, **arguments: Any) -> Any:
        layer = cls(**arguments)
        y = layer(x)
        cls.from_config(layer.get_config())
        output, cache = layer.forward(x, training=True)
        # In a model it is always an array, but a layer below may be wrong.
        layer.backward(dy if isinstance(dy, np.ndarray) else np.ones_like(output), cache)
        Sequential([Input(shape), cls(**arguments)]).predict(x, verbose=0)
        return y

    return use


def _merging(cls: type[Any]) -> Callable[..., Any]:
    def use(a: Any, b: Any, **arguments: Any) -> Any:
        layer = cls(**arguments)
        y = layer([a, b])
        output, cache = layer.forward(a, b)
        layer.backward(np.ones_like(output), cache)
        return y

    return use


def _model() -> Model:
    model = Sequential([Input(IMAGE), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _method(name: str) -> Callable[..., Any]:
    def call(**arguments: Any) -> Any:
        return getattr(_model(), name)(**arguments)

    return call


def _loss(cls: type[Any]) -> Callable[..., Any]:
    def use(y_true: Any, y_pred: Any, sample_weight: Any, **arguments: Any) -> Any:
        loss = cls(**arguments)
        value = loss(y_true, y_pred, sample_weight)
        if isinstance(y_pred, np.ndarray):
            loss.backward(loss.forward(y_true, y_pred, sample_weight)[1])
        return value

    return use


def _optimizer(cls: type[Any]) -> Callable[..., Any]:
    def use(gradient: Any, **arguments: Any) -> Any:
        optimizer = cls(**arguments)
        parameter = layers.Parameter("kernel", np.ones((3, 4), np.float32))
        for _ in range(2):
            parameter.zero_grad()
            parameter.add_grad(gradient)
            optimizer.apply([parameter])
        return parameter.value

    return use


def _weights(**arguments: Any) -> Any:
    model = _model()
    model.set_weights(**arguments)
    return model.predict(image(), verbose=0)


#: Arguments that would only take their time if they were large.
TIMES = ("epochs", "initial_epoch", "repeats")
#: What goes through its data one sample, label or channel after another.
ONE_BY_ONE = (
    "fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch", "profile", "to_categorical",
    "array_to_image", "center_crop", "multi_crop", "resize", "resize_and_crop", "ten_crop",
)  # fmt: skip

Target = tuple[Callable[..., Any], dict[str, Any]]


@functools.cache
def targets() -> dict[str, Target]:
    """Name -> (function, valid keywords), of everything here."""
    found: dict[str, Target] = {}
    for name, arguments in layer_arguments().items():
        found[name] = _layer(getattr(layers, name)), {"x": image(), "dy": None, "shape": IMAGE, **arguments}
    for name in ("Add", "Multiply", "Concatenate"):
        axis = {"axis": -1} if name == "Concatenate" else {}
        found[name] = _merging(getattr(layers, name)), {"a": image(), "b": image(), "dtype": None, **axis}
    return {**found, **_models(), **_losses(), **_optimizers(), **_pictures()}


def _models() -> dict[str, Target]:
    x, y = image(6), np.arange(6) % 3
    quiet = {"batch_size": 4, "verbose": 0, "callbacks": None}
    fit = {
        **quiet, "validation_split": 0.0, "validation_data": None, "shuffle": True, "class_weight": {0: 1.0, 1: 2.0},
        "sample_weight": None, "initial_epoch": 0, "steps_per_epoch": None, "validation_steps": None, "epochs": 2,
        "validation_batch_size": None,
    }  # fmt: skip
    compiled = {"optimizer": "sgd", "loss": "mse", "loss_weights": None, "metrics": ["mae"]}
    return {
        "fit": (_method("fit"), {"x": x, "y": y, **fit}),
        "evaluate": (_method("evaluate"), {"x": x, "y": y, **quiet, "sample_weight": None, "steps": None}),
        "predict": (_method("predict"), {"x": x, **quiet, "steps": None}),
        "train_on_batch": (_method("train_on_batch"), {"x": x, "y": y, "sample_weight": None, "class_weight": None}),
        "test_on_batch": (_method("test_on_batch"), {"x": x, "y": y, "sample_weight": None}),
        "predict_on_batch": (_method("predict_on_batch"), {"x": x}),
        "compile": (_method("compile"), compiled),
        "profile": (_method("profile"), {"x": x, "repeats": 1, "training": True}),
        "set_weights": (_weights, {"weights": _model().get_weights()}),
        "Input": (Input, {"shape": IMAGE, "dtype": "float32", "name": "input"}),
    }


def _losses() -> dict[str, Target]:
    found: dict[str, Target] = {}
    rows = np.abs(image())[:, 0, 0] / 10
    for name in losses.__all__:
        cls = getattr(losses, name)
        if inspect.isclass(cls) and cls not in (losses.Loss, losses.JointLoss):
            target = np.array([1, 2]) if name.startswith("Sparse") else rows
            data = {"y_true": target, "y_pred": rows, "sample_weight": np.ones(2, np.float32)}
            found[f"losses.{name}"] = _loss(cls), {**data, **_defaults(cls)}
    return found


def _optimizers() -> dict[str, Target]:
    found: dict[str, Target] = {}
    for name in ("SGD", "Adagrad", "Adam", "AdamW", "RMSprop"):
        cls = getattr(optimizers, name)
        found[f"optimizers.{name}"] = _optimizer(cls), {"gradient": np.ones((3, 4), np.float32), **_defaults(cls)}
    return found


def _pictures() -> dict[str, Target]:
    picture = np.random.default_rng(2).integers(0, 256, (20, 30, 3), np.uint8)
    calls: dict[str, Callable[..., Any]] = {
        name: getattr(preprocessing, name)
        for name in ("array_to_image", "center_crop", "multi_crop", "resize", "resize_and_crop", "ten_crop")
    }
    given = {"image": picture, "array": picture, "size": (9, 8), "resize": 16, "crop": 12, "scales": (12, 16)}
    found: dict[str, Target] = {name: (function, _defaults(function, **given)) for name, function in calls.items()}
    found["multi_crop"][1]["size"] = 9
    found["to_categorical"] = utils.to_categorical, {"labels": np.array([0, 2]), "num_classes": 3, "dtype": "float32"}
    return found
