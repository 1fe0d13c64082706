"""Is a backward pass right? :func:`gradcheck` compares it with differences of the forward pass.

    >>> report = fastconv.testing.gradcheck(layers.Conv2D(4, 3), (7, 6, 3))
    >>> report.passed
    True
    >>> print(report)                # a line per input and parameter: worst element, expected, got

To grade: ``assert gradcheck(layer, shape), ...`` or ``gradcheck(layer, shape).raise_if_failed()``.
"""

from ..errors import suggest_names
from .gradients import gradcheck
from .report import GradcheckReport, TensorReport

__all__ = ["GradcheckReport", "TensorReport", "gradcheck"]
suggest_names(__name__)
