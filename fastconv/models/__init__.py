"""Models: graphs of layers that can be trained, evaluated and saved."""

from ..layers.input import Input
from .model import Model
from .sequential import Sequential

__all__ = ["Input", "Model", "Sequential"]
