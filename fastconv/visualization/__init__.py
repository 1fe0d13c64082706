"""Pictures of networks, and what they show: filters, feature maps, training curves, predictions, graphs, costs.

Every function named `plot_...` returns a `matplotlib.figure.Figure` and shows nothing by itself:
`figure.savefig("name.png")` writes it, a notebook draws it when it is the last value of a cell. What is drawn can be
had as numbers, too: :func:`receptive_field`, :func:`saliency`, :func:`grad_cam`, :func:`maximise_activation`.
"""

from ..errors import suggest_names
from .costs import plot_memory
from .filters import plot_feature_maps, plot_filters
from .gradients import grad_cam, plot_grad_cam, plot_saliency, saliency
from .graph import plot_model
from .maximisation import maximise_activation, plot_maximised
from .receptive import ReceptiveField, plot_receptive_field, receptive_field
from .results import plot_confusion_matrix, plot_history, plot_predictions

__all__ = [
    "ReceptiveField",
    "grad_cam",
    "maximise_activation",
    "plot_confusion_matrix",
    "plot_feature_maps",
    "plot_filters",
    "plot_grad_cam",
    "plot_history",
    "plot_maximised",
    "plot_memory",
    "plot_model",
    "plot_predictions",
    "plot_receptive_field",
    "plot_saliency",
    "receptive_field",
    "saliency",
]
suggest_names(__name__)
