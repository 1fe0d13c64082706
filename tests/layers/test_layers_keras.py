"""Every layer that Keras 3 has, against Keras on PyTorch: weights in the same order, outputs, all gradients."""

from __future__ import annotations

import numpy as np
import pytest
from support import TOLERANCE, both_dtypes, randn
from torch_oracle import keras_on_torch, torch

import fastconv.layers as fl

keras = keras_on_torch()
kl = keras.layers

#: Keras computes these in float32 whatever their dtype; test_layers_torch.py holds them to float64's tolerance.
FLOAT32_IN_KERAS = ("Dense", "BatchNormalization", "GlobalAveragePooling2D", "GlobalAvgPool2D")
IMAGE = (2, 7, 9, 6)

CASES = {
    "conv": ("Conv2D", {"filters": 5, "kernel_size": (3, 2)}, IMAGE),
    "conv strides": ("Conv2D", {"filters": 4, "kernel_size": 3, "strides": (2, 3), "activation": "relu"}, IMAGE),
    "conv same": ("Conv2D", {"filters": 4, "kernel_size": (3, 4), "strides": 2, "padding": "same"}, IMAGE),
    "conv dilated": ("Conv2D", {"filters": 4, "kernel_size": 3, "dilation_rate": (2, 3), "use_bias": False}, IMAGE),
    "conv groups": ("Conv2D", {"filters": 6, "kernel_size": 3, "groups": 3, "activation": "tanh"}, IMAGE),
    "depthwise": ("DepthwiseConv2D", {"kernel_size": (3, 2), "depth_multiplier": 2, "activation": "elu"}, IMAGE),
    "depthwise same": ("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    "separable": ("SeparableConv2D", {"filters": 5, "kernel_size": (2, 3), "activation": "sigmoid"}, IMAGE),
    "separable wide": (
        "SeparableConv2D",
        {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same", "depth_multiplier": 3, "use_bias": False},
        IMAGE,
    ),
    "transpose": ("Conv2DTranspose", {"filters": 4, "kernel_size": (3, 2), "strides": (2, 3)}, IMAGE),
    "transpose same": (
        "Conv2DTranspose",
        {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
        IMAGE,
    ),
    "transpose output_padding": (
        "Conv2DTranspose",
        {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1},
        IMAGE,
    ),
    "max": ("MaxPooling2D", {"pool_size": (2, 3)}, IMAGE),
    "max overlapping": ("MaxPool2D", {"pool_size": 3, "strides": (1, 2), "padding": "same"}, IMAGE),
    "average": ("AveragePooling2D", {"pool_size": (3, 2), "strides": 2}, IMAGE),
    "average same": ("AvgPool2D", {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    "global max": ("GlobalMaxPooling2D", {}, IMAGE),
    "global max keepdims": ("GlobalMaxPool2D", {"keepdims": True}, IMAGE),
    "global average": ("GlobalAveragePooling2D", {}, IMAGE),
    "global average keepdims": ("GlobalAvgPool2D", {"keepdims": True}, IMAGE),
    "dense": ("Dense", {"units": 7, "activation": "softmax"}, (4, 5)),
    "dense image": ("Dense", {"units": 3, "activation": "relu6", "use_bias": False}, IMAGE),
    "flatten": ("Flatten", {}, IMAGE),
    "reshape": ("Reshape", {"target_shape": (9, -1, 2)}, IMAGE),
    "relu": ("ReLU", {}, IMAGE),
    "relu6": ("ReLU", {"max_value": 6.0}, IMAGE),
    "relu sloped": ("ReLU", {"negative_slope": 0.2}, IMAGE),
    "relu full": ("ReLU", {"max_value": 1.5, "negative_slope": 0.1, "threshold": 0.4}, IMAGE),
    "leaky": ("LeakyReLU", {"negative_slope": 0.15}, IMAGE),
    "leaky default": ("LeakyReLU", {}, IMAGE),
    "prelu": ("PReLU", {}, IMAGE),
    "prelu shared": ("PReLU", {"shared_axes": [1, 2]}, IMAGE),
    "elu": ("ELU", {"alpha": 0.7}, IMAGE),
    "softmax": ("Softmax", {}, IMAGE),
    "batch norm inference": ("BatchNormalization", {"epsilon": 0.01}, IMAGE),
    "batch norm inference plain": ("BatchNormalization", {"center": False, "scale": False}, (5, 6)),
    "zero padding": ("ZeroPadding2D", {"padding": ((1, 0), (2, 3))}, IMAGE),
    "zero padding default": ("ZeroPadding2D", {}, IMAGE),
    "cropping": ("Cropping2D", {"cropping": ((1, 2), (0, 3))}, IMAGE),
    "cropping default": ("Cropping2D", {}, IMAGE),
    "nearest": ("UpSampling2D", {"size": (2, 3)}, IMAGE),
    "bilinear": ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}, IMAGE),
    "rescaling": ("Rescaling", {"scale": 1 / 255, "offset": -0.5}, IMAGE),
    "spatial dropout": ("SpatialDropout2D", {"rate": 0.5}, IMAGE),
    **{
        f"activation {name}": ("Activation", {"activation": name}, IMAGE)
        for name in ("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "softmax", "linear")
    },
}

MERGES = {
    "add": ("Add", {}, [IMAGE, IMAGE, IMAGE]),
    "add broadcast": ("Add", {}, [IMAGE, (2, 1, 1, 6)]),
    "multiply": ("Multiply", {}, [IMAGE, IMAGE, IMAGE]),
    "multiply gate": ("Multiply", {}, [IMAGE, (2, 1, 1, 6)]),
    "concatenate": ("Concatenate", {}, [IMAGE, (2, 7, 9, 2), (2, 7, 9, 1)]),
    "concatenate rows": ("Concatenate", {"axis": 1}, [IMAGE, (2, 3, 9, 6)]),
}


def compare(name, arguments, shapes, dtype, training=False):
    """Run both layers, and their backward passes, on the same random data and weights."""
    rng = np.random.default_rng(len(name) + sum(map(sum, shapes)))
    xs = [randn(rng, shape, dtype) for shape in shapes]
    ours = getattr(fl, name)(**arguments, dtype=dtype)
    theirs = getattr(kl, name)(**arguments, dtype="float64")
    inputs = [fl.Input(shape[1:], dtype=dtype) for shape in shapes]
    tensor = ours(inputs if len(shapes) > 1 else inputs[0])
    theirs.build(shapes if len(shapes) > 1 else shapes[0])
    assert [w.shape for w in ours.get_weights()] == [tuple(w.shape) for w in theirs.weights]
    weights = [np.abs(randn(rng, w.shape, dtype)) + 0.1 for w in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights([w.astype(np.float64) for w in weights])

    y, cache = ours.forward(*xs, training=training)
    if not training:  # a training call would move the averages a second time
        np.testing.assert_array_equal(y, ours(xs if len(xs) > 1 else xs[0]))
    tensors = [torch.from_numpy(x.astype(np.float64)).requires_grad_() for x in xs]
    want = theirs(tensors if len(tensors) > 1 else tensors[0], training=training)
    assert y.dtype == dtype
    assert y.shape[1:] == tensor.shape[1:]
    symbolic = [(None, *s[1:]) for s in shapes]
    assert tensor.shape == tuple(theirs.compute_output_shape(symbolic if len(shapes) > 1 else symbolic[0]))
    tolerance = TOLERANCE["float32" if name in FLOAT32_IN_KERAS else dtype]
    close(y, want, dtype, "y", tolerance)

    for parameter in ours.parameters:
        parameter.zero_grad()
    dy = randn(rng, y.shape, dtype)
    dy.flags.writeable = False
    dxs = ours.backward(dy, cache)
    want.backward(torch.from_numpy(dy.astype(np.float64)))
    for i, (dx, x) in enumerate(zip(dxs if len(xs) > 1 else [dxs], tensors, strict=True)):
        close(dx, x.grad, dtype, f"dx {i}", tolerance)
    for parameter, variable in zip(ours.trainable_weights, theirs.trainable_variables, strict=True):
        close(parameter.grad, variable.value.grad, dtype, parameter.name, tolerance)
    for parameter, variable in zip(ours.non_trainable_weights, theirs.non_trainable_variables, strict=False):
        close(parameter.value, variable.value, dtype, parameter.name, tolerance)


def close(got, want, dtype, what, tolerance):
    want = want.detach().numpy()
    assert got.shape == want.shape, what
    assert got.dtype == dtype, what
    scale = max(float(np.abs(want).max()), 1e-3)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale, err_msg=what)


@both_dtypes
@pytest.mark.parametrize("case", CASES)
def test_as_keras(case, dtype):
    name, arguments, shape = CASES[case]
    compare(name, arguments, [shape], dtype)


@both_dtypes
@pytest.mark.parametrize("case", MERGES)
def test_merge_as_keras(case, dtype):
    name, arguments, shapes = MERGES[case]
    compare(name, arguments, shapes, dtype)


@both_dtypes
@pytest.mark.parametrize("shape", [IMAGE, (8, 5)])
@pytest.mark.parametrize("arguments", [{}, {"momentum": 0.5, "center": False}, {"scale": False}])
def test_batch_norm_training_as_keras(shape, arguments, dtype):
    compare("BatchNormalization", arguments, [shape], dtype, training=True)


def test_frozen_batch_norm_uses_and_keeps_its_averages():
    layer = fl.BatchNormalization(trainable=False)
    theirs = kl.BatchNormalization(trainable=False)
    x = randn(np.random.default_rng(0), IMAGE, "float32")
    layer(fl.Input(IMAGE[1:]))
    theirs.build(IMAGE)
    weights = [np.full(6, value, np.float32) for value in (1.5, -0.5, 0.3, 2.0)]
    layer.set_weights(weights)
    theirs.set_weights(weights)
    y, cache = layer.forward(x, training=True)
    close(y, theirs(torch.from_numpy(x), training=True), "float32", "y", TOLERANCE["float32"])
    layer.backward(y, cache)
    assert all(p.grad is None for p in layer.parameters)
    for got, want in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(got, want)


#: Arguments that Keras has and fastconv leaves out: what they do is not offered.
_LEFT_OUT = {
    "activity_regularizer", "kernel_constraint", "bias_constraint", "depthwise_constraint", "pointwise_constraint",
    "beta_constraint", "gamma_constraint", "lora_rank", "lora_alpha", "quantization_config", "renorm",
    "renorm_clipping", "renorm_momentum", "synchronized",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", sorted({name for name, *_ in (*CASES.values(), *MERGES.values())} | {"Dropout", "BatchNormalization"})
)
def test_arguments_are_keras_arguments(name):
    """Names, order and defaults of positional arguments."""
    import inspect

    def positional(cls):
        return [
            (p.name, str(p.default).lower())
            for p in inspect.signature(cls).parameters.values()
            if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in (*_LEFT_OUT, "name", "dtype")
        ]

    ours, theirs = positional(getattr(fl, name)), positional(getattr(kl, name))
    if name in ("AvgPool2D", "AveragePooling2D"):  # Keras asks for the pool size; ours defaults like MaxPool2D's
        assert ours[0][0] == theirs[0][0]
        ours, theirs = ours[1:], theirs[1:]
    assert ours == theirs
