from fastconv.reference import *
from fastconv.ops.convolution import (
    col2im,
    conv2d,
    conv2d_algorithms,
    conv2d_backward_data,
    conv2d_backward_weights,
    im2col,
    register_conv2d,
)
from fastconv.ops.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_backward_data,
    depthwise_conv2d_backward_weights,
)
from fastconv.ops.linear import dense, dense_backward, matmul
from fastconv.ops.transposed import conv2d_transpose, conv2d_transpose_backward
