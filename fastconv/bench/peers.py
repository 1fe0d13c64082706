"""The contestants of one convolution: fastconv, PyTorch in both layouts, ONNX Runtime, OpenVINO.

Their results are named y, dx, dkernel and dbias.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import ops
from fastconv.bench.layers import ConvLayer, UsageError
from fastconv.bench.rows import Contestant, Results
from fastconv.errors import did_you_mean

#: Peer -> (the packages it needs, what installs them)
PEERS = {
    "torch": (("torch",), "pip install torch==2.13.0"),
    "onnxruntime": (("onnxruntime", "onnx"), "pip install onnxruntime onnx"),
    "openvino": (("openvino", "onnx"), "pip install openvino onnx"),
}


@dataclass(frozen=True)
class Problem:
    """One pass of one layer and its data."""

    layer: ConvLayer
    which: str  # forward, backward_data, backward_weights or backward (both)
    x: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    dy: np.ndarray

    @classmethod
    def of(cls, layer: ConvLayer, which: str, dtype: str = "float32") -> Problem:
        """Seeded random data for a layer."""
        rng = np.random.default_rng(0)

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32).astype(dtype)

        kernel = normal(*layer.kernel_shape) * np.asarray(1 / np.sqrt(layer.weights / layer.filters), dtype)
        return cls(layer, which, normal(*layer.input_shape), kernel, normal(layer.filters), normal(*layer.output_shape))

    @property
    def wants_dx(self) -> bool:
        """Whether the gradient of the input is part of this pass."""
        return self.which == "backward_data" or (self.which == "backward" and not self.layer.reads_images)

    @property
    def wants_dkernel(self) -> bool:
        """Whether the gradients of kernel and bias are part of this pass."""
        return self.which in ("backward_weights", "backward")

    @property
    def flop(self) -> int:
        """Additions and multiplications of the direct algorithm."""
        return self.layer.flop * (1 if self.which == "forward" else self.wants_dx + self.wants_dkernel)


def installed(names: Sequence[str], known: Sequence[str] = tuple(PEERS)) -> tuple[list[str], list[str]]:
    """Of these peers, those that are installed, and a line about each of the others.

    Raises:
        UsageError: a name that is not among the known peers.
    """
    present, missing = [], []
    for name in known if "all" in names else [name for name in names if name != "none"]:
        if name not in known:
            known = (*known, "all", "none")
            raise UsageError(f"unknown peer {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
        packages, command = PEERS[name]
        if all(importlib.util.find_spec(package) for package in packages):
            present.append(name)
        else:
            missing.append(f"{name} is not installed; to compare with it: {command}")
    return present, missing


def contestants(problem: Problem, peers: Sequence[str], algorithms: Sequence[str] = ("auto",)) -> dict[str, Contestant]:
    """Everybody who can run this problem, by the name that the tables show; fastconv first.

    Raises:
        ValueError: an algorithm that cannot serve this layer, or does not exist.
    """
    found = {"fastconv" if name == "auto" else f"fastconv {name}": _fastconv(problem, name) for name in algorithms}
    if problem.which == "forward" and "auto" in algorithms:
        found["fastconv cached"] = _fastconv_layer(problem)
    if "torch" in peers:
        found["torch NCHW"] = _torch(problem, channels_last=False)
        found["torch NHWC"] = _torch(problem, channels_last=True)
    if problem.which == "forward" and problem.x.dtype == np.float32:
        makers = {"onnxruntime": _onnxruntime, "openvino": _openvino}
        found |= {name: make(problem) for name, make in makers.items() if name in peers}
    return found


def _fastconv(p: Problem, algorithm: str) -> Contestant:
    geometry = p.layer.arguments | {"algorithm": algorithm}

    def forward() -> Results:
        return {"y": ops.conv2d(p.x, p.kernel, p.bias, **geometry)}

    def backward() -> Results:
        out = {}
        if p.wants_dkernel:
            out["dkernel"], out["dbias"] = ops.conv2d_backward_weights(p.x, p.dy, p.layer.kernel, **geometry)
        if p.wants_dx:
            out["dx"] = ops.conv2d_backward_data(p.dy, p.kernel, p.x.shape, **geometry)
        return out

    return Contestant(forward if p.which == "forward" else backward, lambda out: out)


def _fastconv_layer(p: Problem) -> Contestant:
    """Inference as a model does it: the layer may keep its weights in the form that the kernel wants."""
    kh, kw, _, filters = p.layer.kernel_shape
    layer = fc.layers.Conv2D(filters, (kh, kw), **p.layer.arguments, dtype=str(p.x.dtype))
    layer(p.x[:1])
    layer.set_weights([p.kernel, p.bias])
    return Contestant(lambda: layer(p.x), lambda y: {"y": y})


def _torch(p: Problem, channels_last: bool) -> Contestant:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    (top, bottom), (left, right) = p.layer.padding
    # PyTorch pads both sides alike: where the layer does not, it gets an image that is padded already, for nothing
    padding = (top, left) if p.layer.symmetric else (0, 0)
    border = [(0, 0), (top, bottom), (left, right), (0, 0)]
    image = p.x if p.layer.symmetric else np.pad(p.x, border)

    def tensor(array: np.ndarray, *axes: int) -> torch.Tensor:
        return torch.from_numpy(array).permute(*axes).contiguous(memory_format=layout)

    x, dy = tensor(image, 0, 3, 1, 2), tensor(p.dy, 0, 3, 1, 2)
    kernel, bias = tensor(p.kernel, 3, 2, 0, 1), torch.from_numpy(p.bias)
    strides, groups, mask = p.layer.strides, p.layer.groups, [p.wants_dx, p.wants_dkernel, p.wants_dkernel]

    def forward() -> Any:
        with torch.no_grad():
            return torch.nn.functional.conv2d(x, kernel, bias, strides, padding, 1, groups)

    def backward() -> Any:
        return torch.ops.aten.convolution_backward(
            dy, x, kernel, [p.layer.filters], strides, padding, (1, 1), False, (0, 0), groups, mask
        )

    def results(out: Any) -> Results:
        if p.which == "forward":
            return {"y": out.permute(0, 2, 3, 1).numpy()}
        found = {}
        if p.wants_dx:
            h, w = p.layer.size
            y0, x0 = (0, 0) if p.layer.symmetric else (top, left)
            found["dx"] = out[0].permute(0, 2, 3, 1).numpy()[:, y0 : y0 + h, x0 : x0 + w]
        if p.wants_dkernel:
            found |= {"dkernel": out[1].permute(2, 3, 1, 0).numpy(), "dbias": out[2].numpy()}
        return found

    return Contestant(forward if p.which == "forward" else backward, results)


def _onnx_model(p: Problem) -> bytes:
    """One Conv node in NCHW; the weights are constants, as in a file that somebody deploys."""
    from onnx import TensorProto, helper, numpy_helper

    (top, bottom), (left, right) = p.layer.padding
    n, h, w, c = p.layer.input_shape
    _, oh, ow, k = p.layer.output_shape
    node = helper.make_node(
        "Conv", ["x", "kernel", "bias"], ["y"], group=p.layer.groups, strides=p.layer.strides,
        kernel_shape=p.layer.kernel, pads=[top, left, bottom, right],
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (n, c, h, w))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (n, k, oh, ow))],
        [
            numpy_helper.from_array(np.ascontiguousarray(p.kernel.transpose(3, 2, 0, 1)), "kernel"),
            numpy_helper.from_array(p.bias, "bias"),
        ],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def _onnxruntime(p: Problem) -> Contestant:
    run = onnxruntime_runner(_onnx_model(p), np.ascontiguousarray(p.x.transpose(0, 3, 1, 2)))
    return Contestant(run, lambda y: {"y": y.transpose(0, 2, 3, 1)})


def _openvino(p: Problem) -> Contestant:
    run = openvino_runner(_onnx_model(p), np.ascontiguousarray(p.x.transpose(0, 3, 1, 2)))
    return Contestant(run, lambda y: {"y": y.transpose(0, 2, 3, 1)})


def onnxruntime_runner(model: bytes, x: np.ndarray) -> Callable[[], np.ndarray]:
    """A call of ONNX Runtime that computes the one output of a model for its one input."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = fc.get_num_threads(), 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    return lambda: session.run(None, feed)[0]  # type: ignore[no-any-return]


def openvino_runner(model: bytes, x: np.ndarray) -> Callable[[], np.ndarray]:
    """Likewise with OpenVINO, in float32: it would take bfloat16 where the CPU has it."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": fc.get_num_threads(), "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    graph = core.read_model(model, b"")
    graph.reshape(x.shape)  # a known batch lets it choose better kernels
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: x}, share_inputs=True, share_outputs=True)[0]  # type: ignore[no-any-return]
