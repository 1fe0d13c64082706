# Softmax cross-entropy. Either labels (int64) or targets (rows of reals) is None.

def cross_entropy(
    cnp.ndarray logits, labels, targets, double smoothing, weights, cnp.ndarray losses, cnp.ndarray probabilities
):
    """logits (..., K), labels (...,) or targets (..., K), weights (...,) or None -> losses (...,), probabilities."""
    cdef const fc_kernels *kernels = table_of(logits)
    cdef int64_t K = logits.shape[logits.ndim - 1], rows = cnp.PyArray_SIZE(logits) // K
    cdef void *label = pointer(labels)
    cdef void *target = pointer(targets)
    cdef void *weight = pointer(weights)
    cdef fc_status status
    with nogil:
        status = kernels.cross_entropy(
            rows, K, cnp.PyArray_DATA(logits), <int64_t *>label, target, smoothing, weight, cnp.PyArray_DATA(losses),
            cnp.PyArray_DATA(probabilities),
        )
    check(status)


def cross_entropy_backward(
    cnp.ndarray probabilities, labels, targets, double smoothing, scales, double scale, cnp.ndarray dlogits
):
    """probabilities (..., K) -> dlogits; scales (...,), or None: scale for all."""
    cdef const fc_kernels *kernels = table_of(probabilities)
    cdef int64_t K = probabilities.shape[probabilities.ndim - 1], rows = cnp.PyArray_SIZE(probabilities) // K
    cdef void *label = pointer(labels)
    cdef void *target = pointer(targets)
    cdef void *factor = pointer(scales)
    cdef fc_status status
    with nogil:
        status = kernels.cross_entropy_backward(
            rows, K, cnp.PyArray_DATA(probabilities), <int64_t *>label, target, smoothing, factor, scale,
            cnp.PyArray_DATA(dlogits),
        )
    check(status)
