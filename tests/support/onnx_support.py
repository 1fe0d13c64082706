"""What the tests of the ONNX export share: a session of ONNX Runtime and the comparison with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import fastconv as fc
from fastconv.interop.onnx_export import to_onnx

onnx = pytest.importorskip("onnx", reason="needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

TOLERANCE = 1e-5  # of the largest value


def session_of(proto: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def randomise(model: fc.Model, seed: int = 0) -> None:
    """Let biases, slopes and statistics be numbers that matter; the mean of kernels stays 0."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters:
        value = parameter.value
        if parameter.name in ("gamma", "moving_variance"):
            parameter.assign(rng.uniform(0.5, 1.5, value.shape).astype(value.dtype))
        elif "kernel" not in parameter.name:
            parameter.assign(rng.uniform(-0.3, 0.3, value.shape).astype(value.dtype))


def images(shapes: Sequence[Sequence[int]], dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def compare(model: fc.Model, *inputs: np.ndarray, opset: int = 17) -> Any:
    """The exported graph is valid, has the model's shapes and dtypes, and predicts the same; returns it."""
    proto = to_onnx(model, opset)
    onnx.checker.check_model(proto, full_check=True)
    session = session_of(proto)
    got = session.run(None, {given.name: x for given, x in zip(session.get_inputs(), inputs, strict=True)})
    want = listed(model.infer(*inputs))
    assert [len(given.shape) for given in session.get_inputs()] == [len(t.shape) for t in model.inputs]
    assert all(given.shape[0] == "N" for given in session.get_inputs())
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if b.dtype.kind == "i":
            np.testing.assert_array_equal(a, b)
            continue
        assert np.ptp(b) > 1e-3 or b.size == 1, "a constant output shows nothing"
        bound = TOLERANCE * np.abs(b).max()
        assert np.abs(a - b).max() <= bound, f"{np.abs(a - b).max():.3g} > {bound:.3g}"
    return proto


def around(make: Callable[[], fc.layers.Layer], *shapes: Sequence[int], known: bool = True) -> fc.Model:
    """A model of one layer; sizes of images are known, or not."""
    inputs = [fc.Input(shape[1:] if known or len(shape) != 4 else (None, None, shape[3])) for shape in shapes]
    outputs = make()(inputs if len(inputs) > 1 else inputs[0])
    model = fc.Model(inputs, outputs)
    randomise(model)
    return model


def operators(proto: Any) -> list[str]:
    return [node.op_type for node in proto.graph.node]
