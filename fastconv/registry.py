"""Objects by name: how ``"he_normal"``, ``"adam"`` or ``{"class_name": ..., "config": ...}`` becomes an object.

Layers, losses, metrics, optimizers, initializers and regularizers share these few functions. A user's own classes are
found while a :func:`custom_object_scope` is open; ``load_model(custom_objects=...)`` opens one.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from .errors import did_you_mean

_custom_objects: ContextVar[Mapping[str, Any]] = ContextVar("custom_objects", default=MappingProxyType({}))


@contextlib.contextmanager
def custom_object_scope(objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Make a user's classes and functions known by name inside a ``with`` block.

    Args:
        objects: name -> class or function; None for nothing.
    """
    token = _custom_objects.set({**_custom_objects.get(), **(objects or {})})
    try:
        yield
    finally:
        _custom_objects.reset(token)


def custom_object(name: str) -> Any | None:
    """Return what an open :func:`custom_object_scope` calls ``name``, or None."""
    return _custom_objects.get().get(name)


def snake_case(name: str) -> str:
    """Keras' spelling of a class name: ``"GlorotUniform"`` -> ``"glorot_uniform"``, ``"Conv2D"`` -> ``"conv2d"``."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def serialize(obj: Any) -> Any:
    """Describe an object in JSON's terms: ``{"class_name", "config"}``, or a function's name; None stays None."""
    if obj is None or isinstance(obj, str):
        return obj
    if hasattr(obj, "get_config"):
        return {"class_name": type(obj).__name__, "config": obj.get_config()}
    if not isinstance(obj, type) and type(obj).__init__ is object.__init__ and not hasattr(obj, "__name__"):
        return {"class_name": type(obj).__name__, "config": {}}
    name = getattr(obj, "__name__", None)
    if name is None or name == "<lambda>":
        raise TypeError(f"{obj!r} cannot be saved: it needs a get_config method, or to be a named function")
    return name


def resolve(identifier: Any, table: Mapping[str, Any], kind: str) -> Any:
    """Turn a name or a :func:`serialize` description into an object.

    Args:
        identifier: a name in ``table`` or an open custom-object scope (a class found there is called without
            arguments), a ``{"class_name", "config"}`` dict, or an object, which is returned as it is.
        table: known names -> classes or functions.
        kind: what is looked for, for messages, e.g. ``"initializer"``.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
        TypeError: the identifier is a class, not an instance.
    """
    if isinstance(identifier, str):
        found = _lookup(identifier, table, kind)
        return found() if isinstance(found, type) else found
    if isinstance(identifier, Mapping):
        if not {"class_name", "config"} <= identifier.keys():
            raise ValueError(f"a {kind} description needs the keys 'class_name' and 'config', got {sorted(identifier)}")
        found = _lookup(identifier["class_name"], table, kind)
        from_config = getattr(found, "from_config", None)
        return from_config(identifier["config"]) if from_config else found(**identifier["config"])
    if isinstance(identifier, type):
        name = identifier.__name__
        raise TypeError(f"{kind} must be an instance, got the class {name}; call it: {name}()")
    return identifier


def _lookup(name: Any, table: Mapping[str, Any], kind: str) -> Any:
    found = custom_object(name)
    if found is None:
        found = table.get(name)
    if found is None:
        keys = sorted(key for key in table if key == key.lower())
        known = ", ".join(keys)
        hint = did_you_mean(name, keys)
        raise ValueError(f"unknown {kind} {name!r}{hint}; known: {known}, or your own class through custom_objects")
    return found


class Configurable:
    """A base for objects whose configuration is their constructor's arguments."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, in JSON's terms."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Build an object from what :meth:`get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def by_name(*classes: type) -> dict[str, Any]:
    """Index classes by their own name, its snake case and its lower case."""
    table: dict[str, Any] = {}
    for cls in classes:
        table.update({cls.__name__: cls, snake_case(cls.__name__): cls, cls.__name__.lower(): cls})
    return table


LAYERS: dict[str, Any] = {}  # every class that a description of a model can name; the packages that define them add


def register_layers(*classes: type) -> None:
    """Enter classes into :data:`LAYERS`."""
    LAYERS.update(by_name(*classes))
