# What the machine can do at most: fastconv bench.

def fma_peak(int64_t parts, int64_t rounds, cnp.ndarray start, cnp.ndarray sums):
    """Multiply and add in ``parts`` parallel parts; return how many additions and multiplications that were."""
    cdef const fc_kernels *kernels = table_of(sums)
    cdef fc_status status
    cdef int64_t flop
    if cnp.PyArray_NBYTES(sums) < parts * 64 or cnp.PyArray_SIZE(start) < 2:
        raise ValueError("sums needs 64 bytes a part, start two numbers")
    with nogil:
        status = kernels.fma_peak(parts, rounds, cnp.PyArray_DATA(start), cnp.PyArray_DATA(sums), &flop)
    check(status)
    return flop


def triad(cnp.ndarray a, cnp.ndarray b, cnp.ndarray c, double s):
    """a (n) = b (n) + s * c (n)."""
    cdef const fc_kernels *kernels = table_of(a)
    cdef fc_status status
    with nogil:
        status = kernels.triad(cnp.PyArray_SIZE(a), s, cnp.PyArray_DATA(b), cnp.PyArray_DATA(c), cnp.PyArray_DATA(a))
    check(status)
