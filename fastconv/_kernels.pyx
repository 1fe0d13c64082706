# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The only binding to the C core: array pointers in, status codes out as exceptions, the GIL released in between.

Arrays that arrive here are C-contiguous, aligned, native and of one dtype: ``fastconv.ops`` has seen to it.
"""

cimport cython
cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

cnp.import_array()

include "binding/fastconv.pxi"
include "binding/memory.pxi"
include "binding/config.pxi"
include "binding/gemm.pxi"
include "binding/conv2d.pxi"
include "binding/activation.pxi"
include "binding/pooling.pxi"
include "binding/normalization.pxi"
include "binding/losses.pxi"
include "binding/dropout.pxi"
include "binding/reshaping.pxi"
include "binding/optimizer.pxi"
include "binding/locally_connected.pxi"
include "binding/peak.pxi"
