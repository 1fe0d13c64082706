"""Code that runs at set moments of ``fit``: stopping early, saving, changing the learning rate, logging."""

from ..errors import suggest_names
from .base import Callback, CallbackList, History, LambdaCallback, Logs, as_list
from .monitoring import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from .others import CSVLogger, GradientAccumulation, LearningRateScheduler, TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "GradientAccumulation",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "as_list",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
suggest_names(__name__)
