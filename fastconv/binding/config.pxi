# Instruction set and threads.

def built_isas():
    """Names of the instruction sets that were compiled in, worst first."""
    names, i = [], 0
    while fc_isa_built(i) is not NULL:
        names.append(fc_isa_built(i).decode())
        i += 1
    return tuple(names)


def available_isas():
    """Those of :func:`built_isas` that this CPU and operating system can run."""
    return tuple(name for i, name in enumerate(built_isas()) if fc_isa_usable(i))


def isa():
    """Name of the instruction set in use."""
    return fc_isa_name().decode()


def compiler():
    """Name and version of the C compiler that built this."""
    return fc_compiler().decode()


def select_isa(name):
    """Use ``name``, or the best one for None. ValueError if it is unknown, RuntimeError if the CPU lacks it."""
    encoded = None if name is None else name.encode()
    cdef int failure = fc_isa_select(NULL if encoded is None else <const char *>encoded)
    if failure == 1:
        raise ValueError(f"unknown instruction set {name!r}; this build has {', '.join(built_isas())}")
    if failure == 2:
        raise RuntimeError(f"this CPU cannot run {name!r}; it can run {', '.join(available_isas())}")


def num_threads():
    return fc_num_threads()


def num_threads_source():
    return fc_num_threads_source().decode()


def set_num_threads(int n, source):
    if fc_set_num_threads(n):
        raise RuntimeError(
            f"{n} threads refused: this process was forked from one that had run several OpenMP threads, and OpenMP "
            "would hang; start workers with the 'spawn' method, or set one thread in the parent"
        )
    fc_set_num_threads_source(source.encode())


def has_openmp():
    return bool(fc_has_openmp())
