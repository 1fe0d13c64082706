"""The backward pass of every layer against differences of its forward pass."""

from __future__ import annotations

import pytest
from layer_cases import IMAGE, LAYERS

from fastconv import layers
from fastconv.models import Input, Model
from fastconv.testing import gradcheck


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_backward_is_the_derivative(layer):
    report = gradcheck(layer, IMAGE)
    assert report.passed, report


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (layers.Add(), [IMAGE, (1, 1, 6), IMAGE]),
        (layers.Multiply(), [IMAGE, (1, 1, 6), IMAGE]),
        (layers.Concatenate(1), [IMAGE, (2, 9, 6)]),
    ],
    ids=lambda v: getattr(v, "type_name", None),
)
def test_backward_of_merging_layers(layer, shapes):
    report = gradcheck(layer, shapes)
    assert report.passed, report


def test_backward_through_shared_indices():
    x = Input((6, 8, 3))
    y, argmax = layers.MaxPool2D(2, return_argmax=True)(x)
    report = gradcheck(Model(x, layers.MaxUnpool2D(2)([layers.Activation("tanh")(y), argmax])), (6, 8, 3))
    assert report.passed, report
