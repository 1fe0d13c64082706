"""Export of models to ONNX, the exchange format that ONNX Runtime, OpenVINO and others execute: https://onnx.ai."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..checks import integer
from ..graph.layer import GraphLayer
from ..layers.node import Node, Shape, Tensor

if TYPE_CHECKING:
    import onnx

    from ._onnx_graph import GraphWriter, Value

_OLDEST_OPSET = 13
_LARGEST_FILE = 2**31 - 1  # protobuf's limit


def export_onnx(model: GraphLayer, path: str | os.PathLike[str], opset: int = 17) -> None:
    """Write a model to an ``.onnx`` file, for inference elsewhere::

        fc.interop.export_onnx(model, "model.onnx")
        session = onnxruntime.InferenceSession("model.onnx")
        (y,) = session.run(None, {session.get_inputs()[0].name: x})

    Args:
        model: built; as it predicts, without what only training needs.
        path: of the file; an existing one is replaced.
        opset: version of ONNX's operators, 13 or later.

    Raises:
        ImportError, NotImplementedError, RuntimeError, TypeError, ValueError: see :func:`to_onnx`.
        OSError: the file cannot be written.
    """
    Path(path).write_bytes(to_onnx(model, opset).SerializeToString())


def to_onnx(model: GraphLayer, opset: int = 17) -> onnx.ModelProto:
    """Return a model as an ONNX graph with the same predictions.

    Inputs and outputs keep fastconv's shapes, (N, H, W, C) for images, and are called after the layers they come from.
    Inside, images are (N, C, H, W) as ONNX wants them: they are transposed where they enter, where they leave and
    before a Flatten or Reshape, not in between. The batch ``N`` and sizes that are None stay free. Layers that do
    nothing in inference, such as Dropout, vanish; models in the model are written out in full.

    What ONNX leaves open: where two indices of a MaxUnpool2D are the same, fastconv takes the later value; so does
    ONNX Runtime. Empty batches work where no Reshape or MaxUnpool2D is in the way. A float64 model is exported as such,
    but ONNX Runtime has no float64 for some operators, convolution among them; and attributes are always float32.

    Args:
        model: built, with layers of fastconv.
        opset: version of ONNX's operators, 13 or later.

    Raises:
        ImportError: the package ``onnx`` is missing (``pip install fastconv[onnx]``).
        NotImplementedError: a layer that has no translation, such as one of your own; the message lists those that
            have one. Dropout or BatchNormalization called with ``training=True``.
        RuntimeError: a Sequential that is not built. TypeError: not a model.
        ValueError: an opset that is too old or too new; weights of 2 GB and more, which an ONNX file cannot hold.
    """
    if not isinstance(model, GraphLayer):
        raise TypeError(f"a model is exported, got {type(model).__name__}: put the layer into a Sequential")
    try:
        import onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ImportError("export to ONNX needs the package onnx: pip install fastconv[onnx]") from error
    from ._onnx_graph import GraphWriter, Value

    newest = onnx.defs.onnx_opset_version()
    if not _OLDEST_OPSET <= integer(opset, "opset") <= newest:
        raise ValueError(
            f"opset must be {_OLDEST_OPSET} ... {newest} (what onnx {onnx.__version__} knows), got {opset}"
        )
    graph = model.graph
    size = sum(parameter.value.nbytes for parameter in model.parameters)
    if size > _LARGEST_FILE:
        raise ValueError(f"{model.label} has {size:,} bytes of weights: an ONNX file holds less than 2 GB")
    writer = GraphWriter()
    # An input in the middle of another model comes from a layer that is not in this one.
    input_names, output_names = (
        [writer.unique(graph.names.get(tensor.node.layer, tensor.node.layer.name)) for tensor in tensors]
        for tensors in (graph.inputs, graph.outputs)
    )
    values = {tensor: Value(last=name) for tensor, name in zip(graph.inputs, input_names, strict=True)}
    _write_calls(writer, graph.nodes, graph.names, values, {}, "", training=False)
    _name_outputs(writer, [values[tensor] for tensor in graph.outputs], input_names, output_names)
    opsets = [onnx.helper.make_opsetid("", opset)]
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            [],
            model.name,
            [_value_info(name, tensor) for name, tensor in zip(input_names, graph.inputs, strict=True)],
            [_value_info(name, tensor) for name, tensor in zip(output_names, graph.outputs, strict=True)],
        ),
        opset_imports=opsets,
        ir_version=onnx.helper.find_min_ir_version_for(opsets),  # the newest is refused by yesterday's runtimes
        producer_name="fastconv",
        producer_version=__version__,
    )
    writer.fill(proto.graph)
    return proto


def _write_calls(
    writer: GraphWriter,
    nodes: Sequence[Node],
    names: Any,
    values: dict[Tensor, Value],
    shapes: dict[Tensor, Shape],
    prefix: str,
    training: bool,
) -> None:
    """Translate calls in order; ``values`` gets what they return.

    Args:
        writer: where the translation goes.
        nodes, names: of the model.
        values: of the model's inputs.
        shapes: of tensors, where they are better known than when the layers were called.
        prefix: path of the model, ending in a slash, or nothing.
        training: whether the model itself is called with ``training=True``.
    """
    from ._onnx_graph import LayerCall
    from ._onnx_layers import translator

    for node in nodes:
        call = LayerCall(
            writer=writer,
            layer=node.layer,
            name=prefix + names[node.layer],
            inputs=[values[tensor] for tensor in node.inputs],
            input_shapes=[shapes.get(tensor, tensor.shape) for tensor in node.inputs],
            output_shapes=[shapes.get(tensor, tensor.shape) for tensor in node.outputs],
            input_dtypes=[tensor.dtype for tensor in node.inputs],
            output_dtypes=[tensor.dtype for tensor in node.outputs],
            training=training if node.training is None else node.training,
        )
        translate = translator(node.layer, call.name, _write_model)
        values.update(zip(node.outputs, translate(call), strict=True))


def _write_model(call: Any) -> list[Value]:
    """Translate a model that is a layer: its calls, once more for each of its own calls."""
    graph = call.layer.graph
    values = dict(zip(graph.inputs, call.inputs, strict=True))
    shapes = call.layer.tensor_shapes(list(call.input_shapes))
    _write_calls(call.writer, graph.nodes, graph.names, values, shapes, f"{call.name}/", call.training)
    return [values[tensor] for tensor in graph.outputs]


def _name_outputs(writer: GraphWriter, results: Sequence[Value], inputs: Sequence[str], names: Sequence[str]) -> None:
    """Let the graph end in the outputs' names. What is an input or another output already is handed through."""
    given = {*inputs, *names}
    for value, wanted in zip(results, names, strict=True):
        name = writer.channels_last(value)
        if name in given:
            writer.hand_through(name, wanted)
        else:
            writer.rename(name, wanted)
            value.last = wanted


def _value_info(name: str, tensor: Tensor) -> onnx.ValueInfoProto:
    from onnx import helper

    from ._onnx_graph import element_type

    axes = ("N", "height", "width", "channels") if len(tensor.shape) == 4 else ("N", *map(str, range(1, 32)))
    sizes = [
        (axis if i == 0 else f"{name}_{axis}") if size is None else size
        for i, (axis, size) in enumerate(zip(axes, tensor.shape, strict=False))
    ]
    return helper.make_tensor_value_info(name, element_type(tensor.dtype), sizes)
