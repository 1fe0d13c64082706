"""Export to ONNX: whole graphs, the zoo, and what cannot be exported."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np
import pytest
from onnx_support import compare, images, onnx, onnxruntime, operators, randomise, session_of

import fastconv as fc
from fastconv import layers as L  # noqa: N812
from fastconv.applications import LeNet5
from fastconv.interop.onnx_export import export_onnx, to_onnx

ReferenceEvaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator

# ---- graphs ----


def test_lenet5() -> None:
    proto = compare(LeNet5(), *images([(3, 28, 28, 1)]))
    given, result = proto.graph.input[0], proto.graph.output[0]
    assert given.type.tensor_type.shape.dim[0].dim_param == "N"
    assert [d.dim_value for d in given.type.tensor_type.shape.dim[1:]] == [28, 28, 1]
    assert [d.dim_value for d in result.type.tensor_type.shape.dim[1:]] == [10]
    assert result.name == "output"
    # NHWC at the borders only: in front of the first convolution and of Flatten.
    assert operators(proto).count("Transpose") == 2


def test_images_are_transposed_once() -> None:
    x = fc.Input((8, 9, 3))
    y = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    for _ in range(3):
        branch = L.Conv2D(4, 3, padding="same", use_bias=False)(L.ReLU()(L.BatchNormalization()(y)))
        y = L.Add()([y, L.Dropout(0.1)(branch)])
    y = L.Concatenate()([L.MaxPool2D()(y), L.AvgPool2D()(y)])
    model = fc.Model(x, [y, L.Dense(7, "softmax")(L.GlobalAvgPool2D()(y))])
    randomise(model)
    proto = compare(model, *images([(2, 8, 9, 3)]))
    assert operators(proto).count("Transpose") == 2  # into the graph, and out for the image among the outputs
    assert [o.name for o in proto.graph.output] == ["concatenate", "dense"]


def test_models_in_models_and_shared_layers() -> None:
    """A block called twice, with a layer that both calls of it share: one set of weights in the file."""
    block_input = fc.Input((None, None, 4), name="block_input")
    shared = L.Conv2D(4, 3, padding="same", activation="elu")
    y = L.Conv2DTranspose(4, 2, 2)(L.Conv2D(4, 3, 2, "same")(shared(block_input)))
    block = fc.Model(block_input, [shared(L.BatchNormalization()(y)), block_input], name="block")
    stack = fc.Sequential([fc.Input((4,)), L.Dense(6, "tanh"), L.Dropout(0.5), L.Dense(2)], name="stack")
    x, v = fc.Input((6, 5, 4), name="picture"), fc.Input((4,), name="numbers")
    y, same = block(x)
    y, _ = block(y)
    model = fc.Model([x, v], [y, same, stack(v), stack(L.GlobalMaxPool2D()(y))])
    randomise(model)
    proto = compare(model, *images([(2, 6, 5, 4), (2, 4)]))
    assert [i.name for i in proto.graph.input] == ["picture", "numbers"]
    weights = [w for w in proto.graph.initializer if w.name.endswith("kernel")]
    assert len(weights) == 5
    # The block takes any size, but here it gets a known one: the strided convolution is padded by numbers.
    assert not [a for node in proto.graph.node for a in node.attribute if a.name == "auto_pad"]
    assert len({node.name for node in proto.graph.node}) == len(proto.graph.node)


def test_outputs_that_are_inputs_or_listed_twice() -> None:
    x = fc.Input((6, 5, 3))
    y = L.Conv2D(2, 3)(x)
    compare(fc.Model(x, [x, y, y, L.Dropout(0.2)(y), L.Flatten()(y)]), *images([(2, 6, 5, 3)]))


def test_shared_layers_in_both_layouts() -> None:
    """On an image as it came and on one that a convolution left, weights differ in the order of their axes."""
    x = fc.Input((3, 3, 3))
    y = L.Conv2D(3, 1)(x)
    shared = [L.Rescaling([1, 20, 300], [4, 5, 6]), L.PReLU(), L.Dense(3)]
    model = fc.Model(x, [layer(image) for image in (x, y) for layer in shared])
    randomise(model)
    compare(model, *images([(2, 3, 3, 3)]))


def test_a_part_of_another_model() -> None:
    whole = LeNet5()
    middle = fc.Model(whole.layers[2].output, [whole.layers[-1].output, whole.layers[2].output])
    compare(middle, *images([(2, *middle.input_shape[1:])]))


@pytest.mark.parametrize("opset", [13, 15, 18, 21])
def test_opsets(opset: int) -> None:
    x = fc.Input((9, 8, 3))
    y, argmax = L.MaxPool2D(2, return_argmax=True)(L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(x)))
    y = L.MaxUnpool2D(2, output_size=(9, 8))([L.PReLU(shared_axes=(1, 2))(y), argmax])
    y = L.UpSampling2D(interpolation="bilinear")(L.ZeroPadding2D(1)(L.AvgPool2D(3, 2, 1, ceil_mode=True)(y)))
    y = L.Cropping2D(1)(L.LocalResponseNormalization(1)(y))
    model = fc.Model(x, L.Softmax()(L.Dense(4)(L.Reshape((-1, 2))(y))))
    randomise(model)
    proto = compare(model, *images([(2, 9, 8, 3)]), opset=opset)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", opset)]


def test_float64() -> None:
    """ONNX Runtime has no convolution in float64; the reference implementation of the onnx package has."""
    x = fc.Input((8, 9, 3), dtype="float64")
    y = L.Conv2D(4, 3, 2, "same", dtype="float64", activation="relu")(x)
    y = L.AvgPool2D()(L.BatchNormalization(dtype="float64")(y))
    model = fc.Model(x, L.Dense(3, "softmax", dtype="float64")(L.Flatten()(y)))
    randomise(model)
    (x,) = images([(2, 8, 9, 3)], "float64")
    proto = to_onnx(model)
    onnx.checker.check_model(proto, full_check=True)
    (y,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: x})
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, model.infer(x), rtol=1e-9)  # attributes such as epsilon are float32


def test_file(tmp_path: Any) -> None:
    model = LeNet5()
    (x,) = images([(2, 28, 28, 1)])
    export_onnx(model, tmp_path / "model.onnx")
    export_onnx(model, str(tmp_path / "model.onnx"), opset=18)
    read = onnx.load(tmp_path / "model.onnx")
    assert read.opset_import[0].version == 18
    assert (read.producer_name, read.producer_version) == ("fastconv", fc.__version__)
    (y,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {read.graph.input[0].name: x})
    np.testing.assert_allclose(y, model.predict(x, verbose=0), atol=1e-6)


# ---- the zoo ----

NETWORKS: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "LeNet5": ((28, 28, 1), {}),
    "AlexNet": ((67, 67, 3), {}),
    "ZFNet": ((67, 67, 3), {"include_top": False}),
    "VGG16": ((32, 32, 3), {"include_top": False, "pooling": "max"}),
    "GoogLeNet": ((64, 64, 3), {}),
    "ResNet18": ((33, 40, 3), {}),
    "ResNet50": ((33, 40, 3), {}),
    "InceptionV3": ((75, 75, 3), {}),
    "Xception": ((71, 71, 3), {}),
    "SqueezeNet": ((64, 64, 3), {}),
    "DenseNet121": ((32, 40, 3), {}),
    "MobileNet": ((32, 40, 3), {}),
    "MobileNetV2": ((32, 40, 3), {}),
    "NiN": ((32, 32, 3), {}),
    "ENet": ((32, 48, 3), {}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    """Random statistics; the logits are compared, because a softmax of random weights is nearly constant."""
    shape, arguments = NETWORKS[name]
    network = getattr(fc.applications, name)
    takes = inspect.signature(network).parameters
    if "classifier_activation" in takes:
        arguments = {**arguments, "classifier_activation": None}
    model = network(input_shape=shape, **arguments)
    randomise(model)
    compare(model, *images([(2, *shape)]))


@pytest.mark.parametrize("name", ["ResNet18", "SqueezeNet", "MobileNetV2", "Xception"])
def test_networks_for_any_size(name: str) -> None:
    """One file for pictures of every size, odd and even: where "same" pads depends on them."""
    model = getattr(fc.applications, name)(input_shape=(None, None, 3), include_top=False, pooling="avg")
    randomise(model)
    session = session_of(to_onnx(model))
    assert session.get_inputs()[0].shape[1:] == [
        f"{session.get_inputs()[0].name}_height",
        f"{session.get_inputs()[0].name}_width",
        3,
    ]
    for size in ((72, 97), (81, 88)):
        (x,) = images([(1, *size, 3)])
        (y,) = session.run(None, {session.get_inputs()[0].name: x})
        want = model.infer(x)
        assert np.abs(y - want).max() <= 1e-5 * np.abs(want).max()


# ---- what cannot be exported ----


def test_a_layer_of_ones_own() -> None:
    class Twice(fc.layers.Layer):
        def forward(self, x: np.ndarray, training: bool = False) -> Any:
            return 2 * x, None

    class LoudDense(fc.layers.Dense):
        def linear(self, x: np.ndarray, activation: Any) -> np.ndarray:
            return 2 * super().linear(x, activation)

    class NamedDense(fc.layers.Dense):
        """Adds nothing to the computation."""

    for make in (Twice, lambda **kw: LoudDense(3, **kw)):
        inner = fc.Sequential([fc.Input((4,)), make(name="odd")], name="inner")
        with pytest.raises(NotImplementedError, match=r'(Twice|LoudDense) "inner/odd" .* Conv2D, .* Dense, .*models'):
            to_onnx(fc.Sequential([fc.Input((4,)), inner]))
    model = fc.Sequential([fc.Input((4,)), NamedDense(3)])
    compare(model, *images([(2, 4)]))


@pytest.mark.parametrize("make", [lambda: L.Dropout(0.5), L.BatchNormalization])
def test_calls_in_training_mode(make: Any) -> None:
    x = fc.Input((4,))
    with pytest.raises(NotImplementedError, match="training=True"):
        to_onnx(fc.Model(x, make()(x, training=True)))
    inner = fc.Sequential([fc.Input((4,)), make()])
    with pytest.raises(NotImplementedError, match="training=True"):
        to_onnx(fc.Model(x, inner(x, training=True)))
    with np.errstate(all="ignore"):
        frozen = fc.Model(x, L.Dense(3)(L.BatchNormalization(trainable=False)(L.Dropout(0)(x, training=True))))
    compare(frozen, *images([(2, 4)]))


def test_argmax_that_cannot_be_exported() -> None:
    x = fc.Input((None, None, 3))
    model = fc.Model(x, L.MaxPool2D(2, 3, "same", return_argmax=True)(x))
    with pytest.raises(NotImplementedError, match="give the input a size"):
        to_onnx(model)


def test_wrong_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="got Dense"):
        to_onnx(L.Dense(3))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="not built"):
        to_onnx(fc.Sequential([L.Dense(3)]))
    for opset in (12, 1000):
        with pytest.raises(ValueError, match=rf"13 \.\.\. \d+.*got {opset}"):
            to_onnx(LeNet5(), opset)
    with pytest.raises(TypeError, match="opset"):
        to_onnx(LeNet5(), "17")  # type: ignore[arg-type]
    monkeypatch.setattr("fastconv.interop.onnx_export._LARGEST_FILE", 200_000)
    with pytest.raises(ValueError, match="246,824 bytes"):
        to_onnx(LeNet5())


def test_without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install fastconv\[onnx\]"):
        to_onnx(LeNet5())
