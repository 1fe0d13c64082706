"""Models: graphs of layers that can be trained, evaluated and saved."""

from ..errors import suggest_names
from ..graph.gradients import input_gradients
from ..layers.input import Input
from ..registry import register_layers
from .model import Model
from .saving import load_model
from .sequential import Sequential

__all__ = ["Input", "Model", "Sequential", "input_gradients", "load_model"]
suggest_names(__name__)
register_layers(Model, Sequential)
