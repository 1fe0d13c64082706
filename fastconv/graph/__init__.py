"""Graphs of layers: the calls between inputs and outputs, the plan of their execution, forwards and backwards."""

from .graph import Graph
from .layer import GraphLayer

__all__ = ["Graph", "GraphLayer"]
