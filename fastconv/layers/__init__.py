"""Layers, with Keras' names, arguments and defaults. Images are ``(N, H, W, C)``.

``forward(x, training) -> (y, cache)`` and ``backward(dy, cache) -> dx`` are what each of them defines; see
:class:`Layer` to write your own.
"""

from ..errors import suggest_names
from ..registry import register_layers
from .activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from .base import Layer
from .convolution import Conv2D, DepthwiseConv2D
from .dense import Dense
from .input import Input, InputLayer
from .locally_connected import LocallyConnected2D
from .merging import Add, Concatenate, Multiply
from .normalization import BatchNormalization, LocalResponseNormalization
from .parameter import Parameter
from .pooling import AvgPool2D, GlobalAvgPool2D, GlobalMaxPool2D, MaxPool2D, MaxUnpool2D
from .regularization import Dropout, SpatialDropout2D
from .reshaping import Cropping2D, Flatten, Rescaling, Reshape, UpSampling2D, ZeroPadding2D
from .separable import SeparableConv2D
from .transposed import Conv2DTranspose

# Keras' other names for the same classes.
Convolution2D = Conv2D
Convolution2DTranspose = Conv2DTranspose
SeparableConvolution2D = SeparableConv2D
MaxPooling2D = MaxPool2D
AveragePooling2D = AvgPool2D
GlobalMaxPooling2D = GlobalMaxPool2D
GlobalAveragePooling2D = GlobalAvgPool2D

__all__ = [
    "ELU",
    "Activation",
    "Add",
    "AveragePooling2D",
    "AvgPool2D",
    "BatchNormalization",
    "Concatenate",
    "Conv2D",
    "Conv2DTranspose",
    "Convolution2D",
    "Convolution2DTranspose",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling2D",
    "Input",
    "InputLayer",
    "Layer",
    "LeakyReLU",
    "LocalResponseNormalization",
    "LocallyConnected2D",
    "MaxPool2D",
    "MaxPooling2D",
    "MaxUnpool2D",
    "Multiply",
    "PReLU",
    "Parameter",
    "ReLU",
    "Rescaling",
    "Reshape",
    "SeparableConv2D",
    "SeparableConvolution2D",
    "Softmax",
    "SpatialDropout2D",
    "UpSampling2D",
    "ZeroPadding2D",
]
suggest_names(__name__)
register_layers(*{c for name in __all__ if isinstance(c := globals()[name], type) and issubclass(c, Layer)})
