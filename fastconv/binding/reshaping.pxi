# Layouts, padding, cropping, up-sampling.

def transpose(tuple geometry, cnp.ndarray x, cnp.ndarray y):
    """A batch of transposes; geometry (batch, rows, cols, x_batch, y_batch, x_row, y_row)."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_transpose t
    cdef fc_status status
    t.batch, t.rows, t.cols, t.x_batch, t.y_batch, t.x_row, t.y_row = geometry
    with nogil:
        status = kernels.transpose(&t, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y))
    check(status)


def copy_rows(cnp.ndarray x, int64_t x_first, cnp.ndarray y, int64_t y_first, int64_t rows, int64_t n):
    """y[r, y_first : y_first + n] = x[r, x_first : x_first + n] for r < rows; x and y as `rows` rows each."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef int64_t x_pitch = cnp.PyArray_SIZE(x) // rows, y_pitch = cnp.PyArray_SIZE(y) // rows
    cdef char *source = <char *>cnp.PyArray_DATA(x) + x_first * cnp.PyArray_ITEMSIZE(x)
    cdef char *target = <char *>cnp.PyArray_DATA(y) + y_first * cnp.PyArray_ITEMSIZE(y)
    cdef fc_status status
    with nogil:
        status = kernels.copy_rows(rows, n, x_pitch, source, y_pitch, target)
    check(status)


def add(cnp.ndarray a, cnp.ndarray b, cnp.ndarray y):
    """y = a + b, all of one shape (..., C); a and b may be the first channels of wider arrays, y is contiguous."""
    cdef const fc_kernels *kernels = table_of(a)
    cdef int64_t n = y.shape[y.ndim - 1] if y.ndim else 1
    cdef int64_t rows = cnp.PyArray_SIZE(y) // n if n else 0
    cdef int64_t a_pitch = row_pitch(a) if y.ndim else 1, b_pitch = row_pitch(b) if y.ndim else 1
    cdef fc_status status
    with nogil:
        status = kernels.add(
            rows, n, a_pitch, cnp.PyArray_DATA(a), b_pitch, cnp.PyArray_DATA(b), cnp.PyArray_DATA(y)
        )
    check(status)


def place(int64_t top, int64_t left, cnp.ndarray x, cnp.ndarray y):
    """x (N, H, W, C) at (top, left) of y (N, OH, OW, C), which is 0 elsewhere; negative: cropped."""
    cdef const fc_kernels *kernels = table_of(x)
    cdef fc_place p
    cdef fc_status status
    p.N, p.H, p.W, p.C = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    p.OH, p.OW, p.top, p.left = y.shape[1], y.shape[2], top, left
    with nogil:
        status = kernels.place(&p, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y))
    check(status)


def upsample(bint bilinear, bint backward, int64_t FH, int64_t FW, cnp.ndarray from_, cnp.ndarray to):
    """Forward (N, H, W, C) -> (N, H*FH, W*FW, C), backward the other way."""
    cdef const fc_kernels *kernels = table_of(from_)
    cdef cnp.ndarray small = to if backward else from_
    cdef fc_upsample u
    cdef fc_status status
    cdef void *source = cnp.PyArray_DATA(from_)
    cdef void *target = cnp.PyArray_DATA(to)
    u.N, u.H, u.W, u.C, u.FH, u.FW = small.shape[0], small.shape[1], small.shape[2], small.shape[3], FH, FW
    with nogil:
        if bilinear and backward:
            status = kernels.upsample_bilinear_backward(&u, source, target)
        elif bilinear:
            status = kernels.upsample_bilinear(&u, source, target)
        elif backward:
            status = kernels.upsample_nearest_backward(&u, source, target)
        else:
            status = kernels.upsample_nearest(&u, source, target)
    check(status)
