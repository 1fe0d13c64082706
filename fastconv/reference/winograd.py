"""Winograd's minimal filtering: fewer multiplications for the same convolution.

m outputs of a filter with r taps are a product of polynomials, and a polynomial of degree n - 1 is given by its values
at n = m + r - 1 points (Toom and Cook): evaluate both, multiply the n values, interpolate. In two dimensions a tile of
m x m outputs costs n x n multiplications instead of m * m * r * r: 36 instead of 144 for F(4x4, 3x3). With many
channels the products at one point become a matrix product over tiles, channels and filters.

    Y = A^T [ (G g G^T) * (B^T d B) ] A

A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016); B. Barabasz et al., "Error Analysis
and Improving the Accuracy of Winograd Convolution for Deep Neural Networks" (2020) for the choice of points.
"""

import numpy as np

from fastconv.reference.geometry import Array, PaddingLike, pad, resolve_padding

#: The finite points; the last one is infinity. +-5/7 and +-7/5 halve the rounding error of +-1 and +-2.
POINTS = {4: (0, 1, -1), 6: (0, 5 / 7, -5 / 7, 7 / 5, -7 / 5), 8: (0, 1, -1, 1 / 2, -1 / 2, 2, -2)}


def winograd_matrices(m: int, r: int) -> tuple[Array, Array, Array]:
    """A^T (m, n), G (n, r) and B^T (n, n) of F(m, r), n = m + r - 1 one of 4, 6 and 8; float64."""
    n = m + r - 1
    points = np.array(POINTS[n])
    at, g, bt = np.zeros((m, n)), np.zeros((n, r)), np.zeros((n, n))
    at[:, :-1], at[-1, -1] = points ** np.arange(m)[:, None], 1
    g[:-1], g[-1, -1] = points[:, None] ** np.arange(r), 1
    for i, point in enumerate(points):
        others = np.delete(points, i)
        g[i] /= np.prod(point - others)
        bt[i, :-1] = np.poly(others)[::-1]  # coefficients of the product of (x - q), the constant first
    bt[-1] = np.poly(points)[::-1]
    return at, g, bt


def winograd_conv2d(x: Array, kernel: Array, padding: PaddingLike = "valid", points: int = 6) -> Array:
    """Convolve ``x`` (N, H, W, C) with ``kernel`` (r, r, C, K) at stride 1 in tiles of points - r + 1 pixels."""
    r = kernel.shape[0]
    m = points - r + 1
    at, g, bt = winograd_matrices(m, r)
    pads = resolve_padding(padding, x.shape[1:3], (r, r), (1, 1))
    padded = pad(x, pads)
    oh, ow = padded.shape[1] - r + 1, padded.shape[2] - r + 1
    filters = np.einsum("ai,ijck,bj->abck", g, kernel, g)
    y = np.zeros((x.shape[0], -(-oh // m) * m, -(-ow // m) * m, kernel.shape[3]), x.dtype)
    whole = pad(padded, ((0, y.shape[1] + r - 1 - padded.shape[1]), (0, y.shape[2] + r - 1 - padded.shape[2])))
    for h in range(0, y.shape[1], m):
        for w in range(0, y.shape[2], m):
            values = np.einsum("ai,nijc,bj->nabc", bt, whole[:, h : h + points, w : w + points], bt)
            products = np.einsum("nabc,abck->nabk", values, filters)
            y[:, h : h + m, w : w + m] = np.einsum("ia,nabk,jb->nijk", at, products, at)
    return y[:, :oh, :ow].copy()
