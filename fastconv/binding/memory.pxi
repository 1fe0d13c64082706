# Arrays over pooled, 64-byte aligned memory.

@cython.final
cdef class Block:
    """Owns one block of the pool; the block goes back when the last array over it dies."""
    cdef void *data

    def __dealloc__(self):
        fc_free(self.data)


def empty(shape, dtype):
    """An uninitialised array over pooled memory; ``dtype`` is any NumPy dtype. MemoryError where there is none."""
    cdef cnp.npy_intp dims[32]
    cdef cnp.dtype descriptor = cnp.dtype(dtype)
    cdef int axis = 0
    cdef Block block = Block()
    size = descriptor.itemsize
    if len(shape) > 32:
        raise ValueError(f"at most 32 axes, got {len(shape)}")
    for length in shape:
        size *= length
        if size > 2**62:
            raise OverflowError(f"an array of shape {tuple(shape)} does not fit 64 bits")
        dims[axis] = length
        axis += 1
    block.data = fc_alloc(size)
    if block.data is NULL:
        raise MemoryError(f"cannot allocate {size:,} bytes for an array of shape {tuple(shape)} and dtype {descriptor}")
    cdef cnp.ndarray array = cnp.PyArray_SimpleNewFromData(axis, dims, descriptor.type_num, block.data)
    cnp.set_array_base(array, block)
    return array


def zeros(shape, dtype):
    """Like :func:`empty`, filled with 0."""
    cdef cnp.ndarray array = empty(shape, dtype)
    memset(cnp.PyArray_DATA(array), 0, cnp.PyArray_NBYTES(array))
    return array


def pool_usage():
    """(bytes in use, bytes waiting in the pool)."""
    cdef size_t in_use, pooled
    fc_pool_usage(&in_use, &pooled)
    return in_use, pooled


def pool_trim():
    """Give every waiting block back to the system."""
    fc_pool_trim()
