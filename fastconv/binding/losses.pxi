# Softmax cross-entropy. Either labels (int64) or targets (rows of reals) is None.

cdef fc_cross_entropy cross_entropy_of(cnp.ndarray logits, labels, targets, double smoothing):
    cdef fc_cross_entropy t
    t.K = logits.shape[logits.ndim - 1]
    t.rows = cnp.PyArray_SIZE(logits) // t.K
    t.labels, t.targets, t.smoothing = <int64_t *>pointer(labels), pointer(targets), smoothing
    return t


def cross_entropy(
    cnp.ndarray logits, labels, targets, double smoothing, weights, cnp.ndarray losses, cnp.ndarray probabilities
):
    """logits (..., K), labels (...,) or targets (..., K), weights (...,) or None -> losses (...,), probabilities."""
    cdef const fc_kernels *kernels = table_of(logits)
    cdef fc_cross_entropy t = cross_entropy_of(logits, labels, targets, smoothing)
    cdef void *weight = pointer(weights)
    cdef fc_status status
    with nogil:
        status = kernels.cross_entropy(
            &t, cnp.PyArray_DATA(logits), weight, cnp.PyArray_DATA(losses), cnp.PyArray_DATA(probabilities)
        )
    check(status)


def cross_entropy_backward(
    cnp.ndarray probabilities, labels, targets, double smoothing, scales, double scale, cnp.ndarray dlogits
):
    """probabilities (..., K) -> dlogits; scales (...,), or None: scale for all."""
    cdef const fc_kernels *kernels = table_of(probabilities)
    cdef fc_cross_entropy t = cross_entropy_of(probabilities, labels, targets, smoothing)
    cdef void *factor = pointer(scales)
    cdef fc_status status
    with nogil:
        status = kernels.cross_entropy_backward(
            &t, cnp.PyArray_DATA(probabilities), factor, scale, cnp.PyArray_DATA(dlogits)
        )
    check(status)
