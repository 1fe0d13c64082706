# Dropout. A draw of 32 bits below ``threshold`` drops; what is kept is multiplied by ``scale``.

cdef fc_dropout dropout_descriptor(uint64_t seed, uint64_t counter, uint64_t threshold, double scale) noexcept:
    cdef fc_dropout d
    d.seed, d.counter, d.threshold, d.scale = seed, counter, threshold, scale
    return d


def dropout(uint64_t seed, uint64_t counter, uint64_t threshold, double scale, cnp.ndarray x, cnp.ndarray y):
    """x -> y of any shape."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_dropout d = dropout_descriptor(seed, counter, threshold, scale)
    cdef int64_t n = cnp.PyArray_SIZE(x)
    cdef fc_status status
    with nogil:
        status = kernels.dropout(n, &d, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y))
    check(status)


def spatial_dropout(uint64_t seed, uint64_t counter, uint64_t threshold, double scale, cnp.ndarray x, cnp.ndarray y):
    """x (N, H, W, C) -> y: one draw for each (n, c)."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_dropout d = dropout_descriptor(seed, counter, threshold, scale)
    cdef int64_t N = x.shape[0], P = x.shape[1] * x.shape[2], C = x.shape[3]
    cdef fc_status status
    with nogil:
        status = kernels.spatial_dropout(N, P, C, &d, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y))
    check(status)
