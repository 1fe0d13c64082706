"""PyTorch (and Keras on top of it) as the oracle of the ops."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from support import Array, ConvCase, pads_of

torch = pytest.importorskip("torch", reason="needs torch==2.13.0")
F = torch.nn.functional
torch.set_num_threads(1)  # the shapes are tiny, and idle OpenMP threads that spin would slow ours down


def torch_gradients(
    function: Callable[..., Any], arrays: Sequence[Array], dy: Array | None = None, seed: int = 0
) -> Any:
    """Run ``function`` on float64 tensors: returns y, dy (random unless given) and the gradient of every array."""
    tensors = [torch.from_numpy(np.ascontiguousarray(a, dtype=np.float64)).requires_grad_() for a in arrays]
    y = function(*tensors)
    if dy is None:
        dy = np.random.default_rng(seed).standard_normal(tuple(y.shape))
    y.backward(torch.from_numpy(np.ascontiguousarray(dy, dtype=np.float64)))
    return y.detach().numpy(), dy, [t.grad.numpy() for t in tensors]


def keras_on_torch() -> Any:
    """Keras 3, computing with PyTorch."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras", reason="needs keras 3")


def nchw(x: Any) -> Any:
    """Tensor (N, H, W, C) as PyTorch wants it."""
    return x.permute(0, 3, 1, 2)


def nhwc(x: Any) -> Any:
    """Tensor (N, C, H, W) as fastconv has it."""
    return x.permute(0, 2, 3, 1)


def torch_conv2d(case: ConvCase, x: Any, kernel: Any, bias: Any = None) -> Any:
    """The convolution by PyTorch, NHWC to NHWC."""
    (top, bottom), (left, right) = pads_of(case.padding, case.size, case.window, case.strides)
    padded = F.pad(nchw(x), (left, right, top, bottom)).contiguous()
    weight = kernel.permute(3, 2, 0, 1).contiguous()
    return nhwc(F.conv2d(padded, weight, bias, case.strides, 0, case.dilation, case.groups))
