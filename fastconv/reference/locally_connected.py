"""Locally connected layer: a convolution whose kernel is another one at every output pixel.

    y[n, p, q] = x[n, window (p, q)] (KH*KW*C,) @ kernel[p, q] + bias[p, q]

Y. Taigman et al., "DeepFace" (CVPR 2014), section 2.2. Kernel layout as Keras 2's ``LocallyConnected2D``.
"""

import numpy as np

from fastconv.reference.convolution import col2im, im2col
from fastconv.reference.geometry import Array, IntOrPair


def locally_connected2d(
    x: Array, kernel: Array, bias: Array | None, kernel_size: IntOrPair, strides: IntOrPair = 1
) -> Array:
    """``x`` (N, H, W, C), ``kernel`` (OH, OW, KH*KW*C, filters), ``bias`` (OH, OW, filters) -> (N, OH, OW, filters)."""
    oh, ow, taps, _ = kernel.shape
    cols = im2col(x, kernel_size, strides).reshape(x.shape[0], oh, ow, taps)
    y = np.einsum("npqt,pqtf->npqf", cols, kernel)
    return y if bias is None else y + bias


def locally_connected2d_backward(
    dy: Array,
    x: Array,
    kernel: Array,
    kernel_size: IntOrPair,
    strides: IntOrPair = 1,
    need_dx: bool = True,
    need_weights: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients ``dx``, ``dkernel`` (kernel's shape) and ``dbias`` (OH, OW, filters); None what is not needed."""
    n = x.shape[0]
    oh, ow, taps, _ = kernel.shape
    cols = im2col(x, kernel_size, strides).reshape(n, oh, ow, taps)
    dkernel, dbias = None, None
    if need_weights:
        dkernel, dbias = np.einsum("npqt,npqf->pqtf", cols, dy), dy.sum(axis=0)
    if not need_dx:
        return None, dkernel, dbias
    dcols = np.einsum("npqf,pqtf->npqt", dy, kernel).reshape(n * oh * ow, taps)
    return col2im(dcols, x.shape, kernel_size, strides), dkernel, dbias
