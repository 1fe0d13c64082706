"""What :meth:`fastconv.Model.profile` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph import profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = profile.Row


class Profile(profile.Profile):
    """The table of :mod:`fastconv.graph.profile`: print it, read :attr:`rows`, or :meth:`plot` it."""

    def plot(self) -> Figure:
        """Return a matplotlib figure: bars of time, speed and memory, a row a layer."""
        from ..visualization.costs import plot_profile

        return plot_profile(self)
