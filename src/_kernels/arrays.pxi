# Arrays to pointers and models to structs; textually part of engine.pyx.
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset


cdef void *data_of(object array, char kind, int flags) except? NULL:
    """Where a C-contiguous array of type `kind` begins; NULL for None and where it is empty.

    A memoryview would check the same in twice the time, and an update takes dozens of arrays.
    """
    cdef Py_buffer view
    cdef void *data
    if array is None:
        return NULL
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags)
    data = view.buf if view.len else NULL
    type_code = view.format[0]
    PyBuffer_Release(&view)
    if type_code != kind:
        raise ValueError(f"a kernel takes arrays of type {chr(kind)} here, got {chr(type_code)}")
    return data


# Names in -_of are read, those in -_into written: a read-only array is refused there.

cdef const float *floats_of(object array) except? NULL:
    return <const float *> data_of(array, b"f", 0)


cdef const uint8_t *bytes_of(object array) except? NULL:
    return <const uint8_t *> data_of(array, b"B", 0)


cdef const double *doubles_of(object array) except? NULL:
    return <const double *> data_of(array, b"d", 0)


cdef const int64_t *longs_of(object array) except? NULL:
    cdef const int64_t[::1] values  # whose type code differs between platforms
    if array is None:
        return NULL
    values = array
    return &values[0] if values.shape[0] else NULL


cdef float *floats_into(object array) except? NULL:
    return <float *> data_of(array, b"f", PyBUF_WRITABLE)


cdef uint8_t *bytes_into(object array) except? NULL:
    return <uint8_t *> data_of(array, b"B", PyBUF_WRITABLE)


cdef double *doubles_into(object array) except? NULL:
    return <double *> data_of(array, b"d", PyBUF_WRITABLE)


cdef int fill_rows(rows *out, object x, bint written=False) except -1:
    """Rows of uint8 or float32 (C-contiguous), a CSR triple (data, indices, indptr), or a pair of
    uint8 rows and what a 1 of them stands for."""
    cdef int flags = PyBUF_WRITABLE if written else 0
    cdef const int32_t[::1] indices
    cdef const int64_t[::1] indptr
    memset(out, 0, sizeof(rows))
    if x is None:
        return 0
    out.unit = 1.0
    if isinstance(x, tuple) and len(x) == 2:
        x, out.unit = x
    if isinstance(x, tuple):
        values, indices, indptr = x
        out.storage = DG_SPARSE
        out.n_rows = indptr.shape[0] - 1
        out.start = &indptr[0]
        out.data = floats_of(values)
        out.index = &indices[0] if indices.shape[0] else NULL
        return 0
    out.n_rows, out.stride = x.shape
    if x.dtype.char == "f":
        out.storage, out.data = DG_FLOATS, data_of(x, b"f", flags)
    else:
        out.storage, out.data = DG_BYTES, data_of(x, b"B", flags)
    return 0


cdef int fill_context(context *out, object layer_context) except -1:
    """A ``deepgen.layers.passes.LayerContext``; None: nothing varies from row to row."""
    memset(out, 0, sizeof(context))
    if layer_context is None:
        return 0
    out.bias_rows = floats_of(layer_context.bias_rows)
    out.bias_scale = floats_of(layer_context.bias_scale)
    out.held = bytes_of(layer_context.held)
    out.beta = floats_of(layer_context.beta)
    out.trials = longs_of(layer_context.trials)
    out.base_bias = floats_of(layer_context.base_bias)
    if layer_context.base_bias is not None and layer_context.base_bias.ndim == 2:
        out.base_stride = layer_context.base_bias.shape[1]
    out.base_precision = floats_of(layer_context.base_precision)
    return 0


# The numbers of unit types and activations, `enum dg_kind`.
KINDS = {
    "binary": DG_BINARY, "gaussian": DG_GAUSSIAN, "softmax": DG_SOFTMAX, "linear": DG_LINEAR,
    "rectified": DG_RECTIFIED, "multinomial": DG_MULTINOMIAL,
}


cdef dg_kind kind_of(object kind) except *:
    """A number of `KINDS`; ValueError for another, which no kernel would do anything with."""
    if kind not in KINDS.values():
        raise ValueError(f"the kernels have no kind {kind!r} of units, only {KINDS}")
    return <dg_kind> <int> kind


cdef class Parts:
    """The parts of a mixed layer as the kernels read them, and how its columns are cut into tasks.

    `parts` are (kind, n_copies, size, group) from the first column on. A task has at most 32
    columns or one wider group; where single columns are cut, 32 of a part stay together, because
    their random words are drawn at once.
    """

    cdef layer *parts
    cdef int n_parts
    cdef int32_t *part_of
    cdef int64_t *blocks
    cdef Py_ssize_t n_blocks

    def __cinit__(self, parts, Py_ssize_t size):
        cdef Py_ssize_t first = 0, word = 0, at, step, width
        cdef layer *part
        self.n_parts = len(parts)
        self.parts = <layer *> calloc(self.n_parts, sizeof(layer))
        self.part_of = <int32_t *> malloc(size * sizeof(int32_t))
        self.blocks = <int64_t *> malloc((size + 1) * sizeof(int64_t))
        if self.parts == NULL or self.part_of == NULL or self.blocks == NULL:
            raise MemoryError(f"no memory for {self.n_parts} parts of a layer")
        if sum(entry[2] for entry in parts) != size:
            raise ValueError(f"the parts of a layer must have {size} columns together, got {parts}")
        self.blocks[0] = 0
        for p, (kind, n_copies, width, group) in enumerate(parts):
            part = &self.parts[p]
            part.kind, part.n_copies, part.size, part.group = kind_of(kind), n_copies, size, group
            part.first, part.end, part.first_word = first, first + width, word
            at = first
            while at < part.end:
                self.part_of[at] = p
                at += 1
            at = first
            while at < part.end:
                step = group if group > 1 else min(32, part.end - at)
                if at > self.blocks[self.n_blocks] and at + step - self.blocks[self.n_blocks] > 32:
                    self.n_blocks += 1
                    self.blocks[self.n_blocks] = at
                at += step
            first = part.end
            word += (width // group + 3) // 4 * 4
        self.n_blocks += 1
        self.blocks[self.n_blocks] = size

    def __dealloc__(self):
        free(self.parts)
        free(self.part_of)
        free(self.blocks)

    cdef int fill(self, layer *out) except -1:
        """Point a layer whose arrays are there to its parts, and these to its arrays."""
        for p in range(self.n_parts):
            self.parts[p].bias = out.bias
            self.parts[p].precision = out.precision if self.parts[p].kind == DG_GAUSSIAN else NULL
        out.n_parts, out.parts, out.part_of = self.n_parts, self.parts, self.part_of
        out.n_blocks, out.blocks = self.n_blocks, self.blocks
        return 0


cdef object fill_layer(layer *out, object kernel_layer):
    """(kind, n_copies, group, bias, precision or None), as `Units.kernel_layer` tells it.

    The kind of a mixed layer is a tuple: see `Parts`. Returns what must stay alive with the layer.
    """
    cdef Parts parts = None
    kind, n_copies, group, bias, precision = kernel_layer
    memset(out, 0, sizeof(layer))
    out.n_copies = n_copies
    out.group = group
    out.size = bias.shape[0]
    out.bias = floats_of(bias)
    out.precision = floats_of(precision)
    if isinstance(kind, tuple):
        parts = Parts(kind, out.size)
        parts.fill(out)
    else:
        out.kind = kind_of(kind)
    return kernel_layer, parts


cdef class Packed:
    """The fixed-point form of one weight matrix, in both orders (docs/kernels.md).

    Keeps the float32 matrix that it was made from, which is not copied: after a change of it
    :meth:`refresh` must be called.
    """

    cdef dg_packed form
    cdef layer lower, upper
    cdef const float *weights
    cdef object owners  # of the arrays that the pointers point into: they must stay alive

    def __cinit__(self, lower, upper, weights, int n_threads):
        owners = fill_layer(&self.lower, lower), fill_layer(&self.upper, upper)
        self.owners = (owners, weights)
        if self.lower.n_parts or self.upper.n_parts:
            raise ValueError("mixed layers have no packed weights")
        self.weights = floats_of(weights)
        size = dg_packed_bytes(&self.lower, &self.upper)
        self.form.memory = <char *> malloc(size)
        if self.form.memory == NULL:
            raise MemoryError(f"no memory for {size} bytes of packed weights")
        self.refresh(n_threads)

    def __dealloc__(self):
        free(self.form.memory)

    def refresh(self, int n_threads):
        """Pack the weights as they are now, for the instruction set in use."""
        with nogil:
            dg_pack(&self.form, &self.lower, &self.upper, self.weights, n_threads)

    @property
    def scale(self):
        """What the number 1 stands for."""
        return self.form.scale


cdef class Chain:
    """A layered model as the kernels read it; holds the arrays that it points into.

    `layers` is a list of what `fill_layer` takes, `weights` a list of
    float32 (n_lower, n_upper) arrays, C-contiguous. The arrays are read, never copied: a
    trainer that updates them in place updates the chain. `packed` has a `Packed` for each matrix
    whose products with whole numbers take it, or None.
    """

    cdef chain c
    cdef object owners  # of the arrays that the pointers point into: they must stay alive
    cdef list packed
    cdef readonly int n_layers

    def __cinit__(self, layers, weights, packed=()):
        cdef int l
        self.packed = list(packed)
        owners = []
        self.owners = (owners, list(weights))
        self.n_layers = self.c.n_layers = len(layers)
        if self.n_layers > DG_MAX_LAYERS:
            raise ValueError(f"a model has at most {DG_MAX_LAYERS} layers, got {self.n_layers}")
        for l, kernel_layer in enumerate(layers):
            owners.append(fill_layer(&self.c.layers[l], kernel_layer))
        for l, matrix in enumerate(weights):
            self.c.weights[l] = floats_of(matrix)
        for l, form in enumerate(self.packed):
            if form is not None:
                self.c.packed[l] = &(<Packed> form).form

    def multiply_adds(self, int l):
        """Count those of a row in a pass over layer l; what a unit does with its field counts 8."""
        cdef int64_t inputs = 8
        if l > 0:
            inputs += self.c.layers[l - 1].size
        if l + 1 < self.n_layers:
            inputs += self.c.layers[l + 1].size
        return inputs * self.c.layers[l].size

    cdef const chain *ready(self) except NULL:
        """The chain, its packed weights in the layout of the instruction set in use, which
        `select_backend` may have changed since they were packed."""
        cdef int layout = dg_backend_current().fixed.layout
        for form in self.packed:
            if form is not None and (<Packed> form).form.layout != layout:
                (<Packed> form).refresh(1)
        return &self.c


cdef class Workspace:
    """Scratch memory that grows and is kept between calls; one thread at a time."""

    cdef char *data
    cdef size_t size

    def __dealloc__(self):
        free(self.data)

    cdef char *reserve(self, size_t size) except NULL:
        # never smaller again: the passes of an update ask in turn, and the largest decides
        if size > self.size:
            free(self.data)
            self.size = 0
            self.data = <char *> malloc(size)
            if self.data == NULL:
                raise MemoryError(f"no memory for {size} bytes of kernel scratch")
            self.size = size
        return self.data


cdef int fill_states(rows *out, object states, int n_layers) except -1:
    cdef int l
    for l in range(n_layers):
        fill_rows(&out[l], states[l])
    return 0
