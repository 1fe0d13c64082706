# One optimizer step.

OPTIMIZER_KINDS = {"sgd": FC_SGD, "rmsprop": FC_RMSPROP, "adam": FC_ADAM, "adamw": FC_ADAM, "adagrad": FC_ADAGRAD}


def optimizer_step(int kind, list values, list grads, list states, hyper):
    """Change values and states, lists of arrays of one dtype, in place; hyper maps names to numbers."""
    if not values:
        return
    cdef fc_optimizer o
    cdef int64_t count = len(values), i, j
    cdef const fc_kernels *kernels = table_of(values[0])
    cdef fc_status status
    o.kind = <fc_optimizer_kind>kind
    o.learning_rate, o.weight_decay, o.scale = hyper["learning_rate"], hyper["weight_decay"], hyper["scale"]
    o.momentum, o.nesterov = hyper.get("momentum", 0.0), bool(hyper.get("nesterov", 0))
    o.rho, o.epsilon = hyper.get("rho", 0.0), hyper.get("epsilon", 0.0)
    o.beta_1, o.beta_2, o.step = hyper.get("beta_1", 0.0), hyper.get("beta_2", 0.0), hyper.get("step", 1)
    cdef fc_segment *segments = <fc_segment *>fc_alloc(count * sizeof(fc_segment))
    if segments is NULL:
        raise MemoryError("not enough memory for the list of parameters")
    for i in range(count):
        segments[i].value = cnp.PyArray_DATA(<cnp.ndarray>values[i])
        segments[i].grad = cnp.PyArray_DATA(<cnp.ndarray>grads[i])
        segments[i].size = cnp.PyArray_SIZE(<cnp.ndarray>values[i])
        for j in range(2):
            segments[i].state[j] = pointer(states[i][j]) if j < len(states[i]) else NULL
    with nogil:
        status = kernels.optimizer_step(&o, count, segments)
        fc_free(segments)
    check(status)
