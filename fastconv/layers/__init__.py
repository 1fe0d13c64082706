"""Layers, with Keras' names, arguments and defaults. Images are ``(N, H, W, C)``.

``forward(x, training) -> (y, cache)`` and ``backward(dy, cache) -> dx`` are what each of them defines; see
:class:`Layer` to write your own.
"""

from .activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from .base import Layer
from .convolution import Conv2D, DepthwiseConv2D
from .dense import Dense
from .input import Input, InputLayer
from .parameter import Parameter
from .pooling import AvgPool2D, GlobalAvgPool2D, GlobalMaxPool2D, MaxPool2D, MaxUnpool2D
from .reshaping import Cropping2D, Flatten, Rescaling, Reshape, UpSampling2D, ZeroPadding2D

# Keras' other names for the same classes.
Convolution2D = Conv2D
DepthwiseConvolution2D = DepthwiseConv2D
MaxPooling2D = MaxPool2D
AveragePooling2D = AvgPool2D
GlobalMaxPooling2D = GlobalMaxPool2D
GlobalAveragePooling2D = GlobalAvgPool2D

__all__ = [
    "ELU",
    "Activation",
    "AveragePooling2D",
    "AvgPool2D",
    "Conv2D",
    "Convolution2D",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "DepthwiseConvolution2D",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling2D",
    "Input",
    "InputLayer",
    "Layer",
    "LeakyReLU",
    "MaxPool2D",
    "MaxPooling2D",
    "MaxUnpool2D",
    "PReLU",
    "Parameter",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "UpSampling2D",
    "ZeroPadding2D",
]
