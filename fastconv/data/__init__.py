"""Batches, from arrays in memory or from anything that can be iterated over. Nothing here knows a model: a batch is
fitted to :class:`~fastconv.data.batches.Ports`, the names, shapes and dtypes of inputs and outputs."""

from .batches import ragged

__all__ = ["ragged"]
