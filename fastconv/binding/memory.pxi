# Arrays over pooled, 64-byte aligned memory.

@cython.final
cdef class Block:
    """Owns one block of the pool; the block goes back when the last array over it dies."""
    cdef void *data

    def __dealloc__(self):
        fc_free(self.data)


def is_plain(value):
    """Whether a value is an array (no subclass) that kernels take: contiguous, aligned, native float32 or float64."""
    if type(value) is not cnp.ndarray or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>value):
        return False
    cdef int number = cnp.PyArray_TYPE(<cnp.ndarray>value)
    return number == cnp.NPY_FLOAT32 or number == cnp.NPY_FLOAT64


def empty(shape, dtype):
    """An uninitialised array over pooled memory; ``dtype`` is any NumPy dtype. MemoryError where there is none."""
    cdef cnp.npy_intp dims[32]
    cdef cnp.dtype descriptor = dtype if type(dtype) is cnp.dtype else cnp.dtype(dtype)
    cdef int axis = 0
    cdef Block block = Block()
    cdef int64_t size = cnp.PyDataType_ELSIZE(descriptor), length
    if len(shape) > 32:
        raise ValueError(f"at most 32 axes, got {len(shape)}")
    for length in shape:
        if length and size > (<int64_t>1 << 62) // length:
            raise OverflowError(f"an array of shape {tuple(shape)} does not fit 64 bits")
        size *= length
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


def pool_fresh():
    """Bytes that the pool has taken from the system so far: all of its blocks, gone ones included."""
    return fc_pool_fresh()


def pool_trim():
    """Give every waiting block back to the system."""
    fc_pool_trim()


cdef int64_t row_pitch(cnp.ndarray x):
    """Elements from one row of an array (..., C) to the next: more than C where it is part of a wider array."""
    cdef int axis
    for axis in range(x.ndim - 2, -1, -1):
        if x.shape[axis] > 1:
            return x.strides[axis] // cnp.PyArray_ITEMSIZE(x)
    return x.shape[x.ndim - 1]
