"""Training, as functions of a model: epochs (``fit``), batches (``loop``), one batch (``step``), what is lowered
(``objective``) and what is shown (``progress``)."""

from .fit import FitOptions, compile_model, evaluate, fit, predict, test_on_batch, train_on_batch, values_of
from .ports import ports_for
from .step import check_compiled, step_of

__all__ = [
    "FitOptions",
    "check_compiled",
    "compile_model",
    "evaluate",
    "fit",
    "ports_for",
    "predict",
    "step_of",
    "test_on_batch",
    "train_on_batch",
    "values_of",
]
