"""The functional layer: functions on NumPy arrays that check their arguments and call the C kernels.

Tensors are NHWC, kernels HWIO, dtypes float32 or float64 and never mixed. Every function has a pure NumPy twin of the
same name in :mod:`fastconv.reference`. The GIL is released while a kernel runs.
"""

from fastconv.errors import suggest_names
from fastconv.ops.activation import (
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
from fastconv.ops.algorithms import conv2d_algorithms, register_conv2d
from fastconv.ops.convolution import (
    PreparedKernel,
    col2im,
    conv2d,
    conv2d_backward_data,
    conv2d_backward_weights,
    conv2d_choice,
    im2col,
    prepare_conv2d,
)
from fastconv.ops.depthwise import depthwise_conv2d, depthwise_conv2d_backward_data, depthwise_conv2d_backward_weights
from fastconv.ops.dropout import dropout, dropout_backward, spatial_dropout2d, spatial_dropout2d_backward
from fastconv.ops.layout import hwio_to_oihw, nchw_to_nhwc, nhwc_to_nchw, oihw_to_hwio
from fastconv.ops.linear import dense, dense_backward, matmul
from fastconv.ops.locally_connected import locally_connected2d, locally_connected2d_backward
from fastconv.ops.losses import softmax_cross_entropy, softmax_cross_entropy_backward
from fastconv.ops.merging import add, concatenate, concatenate_backward, concatenate_growing
from fastconv.ops.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
    local_response_norm,
    local_response_norm_backward,
)
from fastconv.ops.optimizer import optimizer_step
from fastconv.ops.pooling import (
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
from fastconv.ops.reshaping import (
    cropping2d,
    cropping2d_backward,
    upsampling2d,
    upsampling2d_backward,
    zero_padding2d,
    zero_padding2d_backward,
)
from fastconv.ops.transposed import conv2d_transpose, conv2d_transpose_backward

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
    "concatenate_growing",
    "conv2d",
    "PreparedKernel",
    "conv2d_algorithms",
    "conv2d_choice",
    "prepare_conv2d",
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
    "register_conv2d",
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
suggest_names(__name__)
