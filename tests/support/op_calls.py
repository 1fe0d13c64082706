"""One call of every op on small arrays: for the tests that say the same thing of all of them.

Each entry is (name, arrays, call): ``call(module, *arrays)`` runs the op of ``fastconv.ops`` or of
``fastconv.reference``. Not a test file; needs NumPy only, so it also runs under other instruction sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class OpCall:
    """``shapes`` of the floating-point arguments, and how to call the op with them."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    call: Callable[..., Any]

    def arrays(self, dtype: str, seed: int = 0) -> list[Array]:
        rng = np.random.default_rng(seed)
        return [rng.standard_normal(shape).astype(dtype) for shape in self.shapes]

    def run(self, module: Any, arrays: list[Array]) -> tuple[Array, ...]:
        """The results as a tuple, None left out."""
        result = self.call(module, *arrays)
        results = result if isinstance(result, tuple) else (result,)
        return tuple(r for r in results if r is not None)


def _positive(a: Array) -> Array:
    return np.abs(a) + a.dtype.type(0.5)


def op_calls(c: int = 6, batch: int = 3, rows: int | None = None) -> list[OpCall]:
    """All of them, for ``c`` channels; ``rows`` of matrices, where these shall be more than the batch."""
    n, k, m = batch, c + 1, rows or batch
    x, y = (n, 7, 8, c), (n, 3, 7, k)  # y: of a 3 x 2 kernel, strides (2, 1)
    geometry: dict[str, Any] = {"strides": (2, 1)}
    pool: dict[str, Any] = {"pool_size": (3, 2), "strides": (2, 1), "padding": ((1, 1), (1, 0)), "ceil_mode": True}
    pooled = (n, 4, 8, c)
    logits, classes = (m, c + 1), c + 1
    labels = np.arange(m) % classes
    # fmt: off
    calls = [
        OpCall("im2col", (x,), lambda m, x: m.im2col(x, (3, 2), **geometry)),
        OpCall("col2im", ((n * 21, 6 * c),), lambda m, cols: m.col2im(cols, x, (3, 2), **geometry)),
        OpCall("matmul", ((c, rows or 9), (k, c)), lambda m, a, b: m.matmul(a, b, transpose_a=True, transpose_b=True)),
        OpCall("conv2d", (x, (3, 2, c, k), (k,)),
               lambda m, x, w, b: m.conv2d(x, w, b, **geometry, activation="relu")),
        OpCall("conv2d_backward_data", (y, (3, 2, c, k)),
               lambda m, dy, w: m.conv2d_backward_data(dy, w, x, **geometry)),
        OpCall("conv2d_backward_weights", (x, y),
               lambda m, x, dy: m.conv2d_backward_weights(x, dy, (3, 2), **geometry)),
        OpCall("depthwise_conv2d", (x, (3, 2, c, 2), (2 * c,)),
               lambda m, x, w, b: m.depthwise_conv2d(x, w, b, padding="same")),
        OpCall("depthwise_conv2d_backward_data", ((n, 7, 8, 2 * c), (3, 2, c, 2)),
               lambda m, dy, w: m.depthwise_conv2d_backward_data(dy, w, x, padding="same")),
        OpCall("depthwise_conv2d_backward_weights", (x, (n, 7, 8, 2 * c)),
               lambda m, x, dy: m.depthwise_conv2d_backward_weights(x, dy, (3, 2), padding="same")),
        OpCall("conv2d_transpose", (x, (3, 2, k, c), (k,)),
               lambda m, x, w, b: m.conv2d_transpose(x, w, b, strides=2, padding="same")),
        OpCall("conv2d_transpose_backward", ((n, 14, 16, k), x, (3, 2, k, c)),
               lambda m, dy, x, w: m.conv2d_transpose_backward(dy, x, w, strides=2, padding="same")),
        OpCall("locally_connected2d", (x, (3, 7, 6 * c, k), (3, 7, k)),
               lambda m, x, w, b: m.locally_connected2d(x, w, b, (3, 2), (2, 1))),
        OpCall("locally_connected2d_backward", (y, x, (3, 7, 6 * c, k)),
               lambda m, dy, x, w: m.locally_connected2d_backward(dy, x, w, (3, 2), (2, 1))),
        OpCall("max_pool2d", (x,), lambda m, x: m.max_pool2d(x, **pool)),
        OpCall("max_pool2d_backward", (pooled, x),
               lambda m, dy, x: m.max_pool2d_backward(dy, m.max_pool2d(x, **pool)[1], x.shape)),
        OpCall("max_pool2d_backward, windows", (pooled, x),
               lambda m, dy, x: m.max_pool2d_backward(dy, m.max_pool2d(x, **pool)[1], x.shape, **pool)),
        OpCall("avg_pool2d", (x,), lambda m, x: m.avg_pool2d(x, **pool)),
        OpCall("avg_pool2d_backward", (pooled,), lambda m, dy: m.avg_pool2d_backward(dy, x, **pool)),
        OpCall("global_max_pool2d", (x,), lambda m, x: m.global_max_pool2d(x)),
        OpCall("global_max_pool2d_backward", ((n, c), x),
               lambda m, dy, x: m.global_max_pool2d_backward(dy, m.global_max_pool2d(x)[1], x.shape)),
        OpCall("global_avg_pool2d", (x,), lambda m, x: m.global_avg_pool2d(x)),
        OpCall("global_avg_pool2d_backward", ((n, c),), lambda m, dy: m.global_avg_pool2d_backward(dy, x)),
        OpCall("max_unpool2d", (pooled, x),
               lambda m, y, x: m.max_unpool2d(y, m.max_pool2d(x, **pool)[1], x.shape)),
        OpCall("max_unpool2d_backward", (x, x),
               lambda m, dy, x: m.max_unpool2d_backward(dy, m.max_pool2d(x, **pool)[1])),
        OpCall("batch_norm", (x, (c,), (c,)), lambda m, x, g, b: m.batch_norm(x, g, b, activation="relu")),
        OpCall("batch_norm_backward", (x, x, (c,), (c,), (c,)),
               lambda m, dy, x, g, mean, v: m.batch_norm_backward(dy, x, g, mean, _positive(v))),
        OpCall("batch_norm_inference", (x, (c,), (c,), (c,), (c,)),
               lambda m, x, g, b, mean, v: m.batch_norm_inference(x, g, b, mean, _positive(v))),
        OpCall("batch_norm_inference_backward", (x, x, (c,), (c,), (c,)),
               lambda m, dy, x, g, mean, v: m.batch_norm_inference_backward(dy, x, g, mean, _positive(v))),
        OpCall("batch_norm_backward, relu", (x, x, (c,), (c,), (c,), (c,)),
               lambda m, dy, x, g, b, mean, v: m.batch_norm_backward(dy, x, g, mean, _positive(v), 1e-3, "relu", b)),
        OpCall("batch_norm_inference_backward, leaky_relu", (x, x, (c,), (c,), (c,), (c,)),
               lambda m, dy, x, g, b, mean, v: m.batch_norm_inference_backward(
                   dy, x, g, mean, _positive(v), 1e-3, ("leaky_relu", 0.2), b)),
        OpCall("local_response_norm", (x,), lambda m, x: m.local_response_norm(x, 2, 2.0, 0.1, 0.75)),
        OpCall("local_response_norm_backward", (x, x),
               lambda m, dy, x: m.local_response_norm_backward(dy, x, 2, 2.0, 0.1, 0.75)),
        OpCall("dense", ((m, c), (c, k), (k,)), lambda m, x, w, b: m.dense(x, w, b, activation="tanh")),
        OpCall("dense_backward", ((m, k), (m, c), (c, k)), lambda m, dy, x, w: m.dense_backward(dy, x, w)),
        OpCall("activate", (x,), lambda m, x: m.activate(x, ("elu", 0.5))),
        OpCall("activation_backward", (x, x), lambda m, dy, y: m.activation_backward(dy, y, ("leaky_relu", 0.1))),
        OpCall("prelu", (x, (1, 8, c)), lambda m, x, a: m.prelu(x, a)),
        OpCall("prelu_backward", (x, x, (1, 8, c)), lambda m, dy, x, a: m.prelu_backward(dy, x, a)),
        OpCall("dropout", (x,), lambda m, x: m.dropout(x, 0.4, 7, 9)),
        OpCall("dropout_backward", (x,), lambda m, dy: m.dropout_backward(dy, 0.4, 7, 9)),
        OpCall("spatial_dropout2d", (x,), lambda m, x: m.spatial_dropout2d(x, 0.4, 7, 9)),
        OpCall("spatial_dropout2d_backward", (x,), lambda m, dy: m.spatial_dropout2d_backward(dy, 0.4, 7, 9)),
        OpCall("softmax_cross_entropy", (logits, (m,)),
               lambda m, z, w: m.softmax_cross_entropy(z, labels, 0.1, _positive(w))),
        OpCall("softmax_cross_entropy_backward", (logits, logits, (m,)),
               lambda m, p, t, s: m.softmax_cross_entropy_backward(p, t, s, 0.1)),
        OpCall("add", (x, x), lambda m, a, b: m.add(a, b)),
        OpCall("concatenate", (x, (n, 7, 8, k)), lambda m, a, b: m.concatenate([a, b])),
        OpCall("concatenate, rows", (x, (n, 3, 8, c), x), lambda m, a, b, d: m.concatenate([a, b, d], 1)),
        OpCall("concatenate_backward", ((n, 7, 8, 2 * c + 1),),
               lambda m, dy: m.concatenate_backward(dy, (c, 1, c))),
        OpCall("concatenate_backward, rows", (x,), lambda m, dy: m.concatenate_backward(dy, (3, 4), -3)),
        OpCall("zero_padding2d", (x,), lambda m, x: m.zero_padding2d(x, ((1, 2), (0, 3)))),
        OpCall("zero_padding2d_backward", (x,), lambda m, dy: m.zero_padding2d_backward(dy, ((1, 2), (0, 3)))),
        OpCall("cropping2d", (x,), lambda m, x: m.cropping2d(x, ((1, 2), (0, 3)))),
        OpCall("cropping2d_backward", ((n, 4, 5, c),),
               lambda m, dy: m.cropping2d_backward(dy, ((1, 2), (0, 3)), x)),
        OpCall("nchw_to_nhwc", (x,), lambda m, x: m.nchw_to_nhwc(x)),
        OpCall("nhwc_to_nchw", (x,), lambda m, x: m.nhwc_to_nchw(x)),
        OpCall("oihw_to_hwio", ((k, c, 7, 5),), lambda m, w: m.oihw_to_hwio(w)),
        OpCall("hwio_to_oihw", ((7, 5, c, k),), lambda m, w: m.hwio_to_oihw(w)),
    ]
    # fmt: on
    for mode in ("nearest", "bilinear"):
        calls.append(OpCall("upsampling2d", (x,), lambda m, x, i=mode: m.upsampling2d(x, (3, 2), i)))
        calls.append(
            OpCall(
                "upsampling2d_backward", ((n, 6, 8, c),), lambda m, dy, i=mode: m.upsampling2d_backward(dy, (3, 2), i)
            )
        )
    for name in ("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "softmax"):
        calls.append(OpCall(name, (x,), lambda m, x, f=name: getattr(m, f)(x)))
        calls.append(OpCall(f"{name}_backward", (x, x), lambda m, dy, y, f=name: getattr(m, f"{f}_backward")(dy, y)))
    return calls
