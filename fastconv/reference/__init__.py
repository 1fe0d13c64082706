"""The NumPy twin of every function of :mod:`fastconv.ops`: same names, signatures and results, no C.

It states what each op computes, and is what the kernels are tested against. Arguments are taken to be valid (``ops``
checks them) and results have the dtype of the input. Read :mod:`~fastconv.reference.convolution` first.
"""

from fastconv.reference.activation import (
    activate,
    activation_backward,
    elu,
    elu_backward,
    leaky_relu,
    leaky_relu_backward,
    prelu,
    prelu_backward,
    relu,
    relu6,
    relu6_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from fastconv.reference.convolution import col2im, conv2d, conv2d_backward_data, conv2d_backward_weights, im2col
from fastconv.reference.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_backward_data,
    depthwise_conv2d_backward_weights,
)
from fastconv.reference.dropout import (
    dropout,
    dropout_backward,
    spatial_dropout2d,
    spatial_dropout2d_backward,
)
from fastconv.reference.layout import hwio_to_oihw, nchw_to_nhwc, nhwc_to_nchw, oihw_to_hwio
from fastconv.reference.linear import dense, dense_backward, matmul
from fastconv.reference.locally_connected import locally_connected2d, locally_connected2d_backward
from fastconv.reference.losses import softmax_cross_entropy, softmax_cross_entropy_backward
from fastconv.reference.merging import add, concatenate, concatenate_backward
from fastconv.reference.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
    local_response_norm,
    local_response_norm_backward,
)
from fastconv.reference.optimizer import optimizer_step
from fastconv.reference.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    global_max_pool2d,
    global_max_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_unpool2d,
    max_unpool2d_backward,
)
from fastconv.reference.reshaping import (
    cropping2d,
    cropping2d_backward,
    upsampling2d,
    upsampling2d_backward,
    zero_padding2d,
    zero_padding2d_backward,
)
from fastconv.reference.transposed import conv2d_transpose, conv2d_transpose_backward

__all__ = [
    "activate",
    "activation_backward",
    "add",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "batch_norm_inference_backward",
    "col2im",
    "concatenate",
    "concatenate_backward",
    "conv2d",
    "conv2d_backward_data",
    "conv2d_backward_weights",
    "conv2d_transpose",
    "conv2d_transpose_backward",
    "cropping2d",
    "cropping2d_backward",
    "dense",
    "dense_backward",
    "depthwise_conv2d",
    "depthwise_conv2d_backward_data",
    "depthwise_conv2d_backward_weights",
    "dropout",
    "dropout_backward",
    "elu",
    "elu_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "hwio_to_oihw",
    "im2col",
    "leaky_relu",
    "leaky_relu_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "locally_connected2d",
    "locally_connected2d_backward",
    "matmul",
    "max_pool2d",
    "max_pool2d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "nchw_to_nhwc",
    "nhwc_to_nchw",
    "oihw_to_hwio",
    "optimizer_step",
    "prelu",
    "prelu_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "spatial_dropout2d",
    "spatial_dropout2d_backward",
    "tanh",
    "tanh_backward",
    "upsampling2d",
    "upsampling2d_backward",
    "zero_padding2d",
    "zero_padding2d_backward",
]
