# cython: language_level=3, embedsignature=True, freethreading_compatible=True
"""Marshalling between arrays and the C kernels: no arithmetic here, no checks of user input.

Each function is called from exactly one module of `deepgen`, which validates and allocates.
Arguments: data, parameters, outputs, random key and position, scalars, `n_threads` last.
"""
include "headers.pxi"
include "arrays.pxi"


def round_weights(weights, int n_threads):
    """weights: INOUT, rounded to what their packed form stands for. Returns how many changed."""
    cdef float *values = floats_into(weights)
    cdef Py_ssize_t n = weights.size
    cdef int64_t changed
    with nogil:
        changed = dg_round_weights(values, n, n_threads)
    return changed


# --- conditional passes -----------------------------------------------------------------------

def conditional(Chain model, int l, states, layer_context,
                mean, sample, log_normalizer, beta_from,
                uint64_t key, uint64_t step, uint32_t purpose, int64_t first_row,
                Py_ssize_t n_rows, Workspace workspace, int n_threads):
    """mean, sample ~ p(x_l | neighbours) and log normalizer: OUT, each an array or None.

    `states` of the neighbours are read, by number of layer; `layer_context` is that of layer l
    (`fill_context`). `beta_from`, (n_rows,) or None: the log normalizer at this beta is taken off.
    """
    cdef rows neighbours[64]
    cdef context ctx
    cdef dg_outputs out
    cdef dg_stream stream
    cdef double *normalizer = doubles_into(log_normalizer)
    cdef char *scratch
    cdef const chain *c = model.ready()
    memset(neighbours, 0, sizeof(neighbours))
    memset(&out, 0, sizeof(out))
    if l > 0:
        fill_rows(&neighbours[l - 1], states[l - 1])
    if l + 1 < model.n_layers:
        fill_rows(&neighbours[l + 1], states[l + 1])
    fill_context(&ctx, layer_context)
    out.mean = floats_into(mean)
    out.beta_from = floats_of(beta_from)
    if sample is not None:
        if sample.dtype.char == "f":
            out.sample_floats = floats_into(sample)
        else:
            out.sample_bytes = bytes_into(sample)
    stream.key, stream.step, stream.first_row, stream.purpose = key, step, first_row, purpose
    scratch = workspace.reserve(dg_conditional_bytes(c, n_rows, n_threads))
    with nogil:
        dg_conditional(c, l, neighbours, &ctx, &stream, &out, normalizer, n_rows, scratch,
                       n_threads)


def panel_rows(Chain model, int l):
    """Rows that a pass over layer l takes together, between two barriers."""
    return dg_panel_rows(&model.c, l)


def conditional_tasks(Chain model, int l, Py_ssize_t n_rows, int n_threads):
    """Independent tasks of a pass over layer l."""
    return dg_conditional_tasks(&model.c, l, n_rows, n_threads)


def gibbs(Chain model, const uint8_t[::1] free_layers, states, contexts,
          uint64_t key, uint64_t step, uint32_t purpose, int64_t first_row,
          Py_ssize_t n_sweeps, Py_ssize_t n_rows, Workspace workspace, int n_threads):
    """states, an array for each layer: INOUT. Odd layers, then even layers, `n_sweeps` times.

    Layers whose entry of `free_layers` is 0 are clamped. `contexts`: one for each layer, or None.
    """
    cdef rows all_rows[64]
    cdef context ctx[64]
    cdef dg_stream stream
    cdef int l
    cdef char *scratch
    cdef const chain *c = model.ready()
    for l in range(model.n_layers):
        fill_rows(&all_rows[l], states[l], written=free_layers[l])
        fill_context(&ctx[l], contexts[l])
    stream.key, stream.step, stream.first_row, stream.purpose = key, step, first_row, purpose
    scratch = workspace.reserve(dg_conditional_bytes(c, n_rows, n_threads))
    with nogil:
        dg_gibbs(c, &free_layers[0], all_rows, ctx, &stream, n_sweeps, n_rows, scratch,
                 n_threads)


def layer_log_weight(Chain model, int l, x, layer_context, double[::1] out, int n_threads):
    """out += log weight of the states x of layer l alone: INOUT."""
    cdef rows states
    cdef context ctx
    fill_rows(&states, x)
    fill_context(&ctx, layer_context)
    if states.n_rows:
        with nogil:
            dg_layer_log_weight(&model.c.layers[l], &states, &ctx, &out[0], n_threads)


# --- mean field -------------------------------------------------------------------------------

def mean_field(Chain model, means, contexts, int32_t[::1] sweeps, float[::1] change,
               Py_ssize_t max_sweeps, int first_parity, bint in_steps, float tolerance,
               float damping, Workspace workspace, int n_threads):
    """means: INOUT, the start and the fixed point of every layer. sweeps, change: OUT, by row.

    With `in_steps`, for which every matrix must have a packed form, neighbours read bytes.
    """
    cdef rows all_means[64]
    cdef context ctx[64]
    cdef dg_fixed_point until
    cdef Py_ssize_t n_rows = sweeps.shape[0]
    cdef int l
    cdef char *scratch
    cdef const chain *c = model.ready()
    until.max_sweeps, until.first_parity, until.in_steps = max_sweeps, first_parity, in_steps
    until.tolerance, until.damping = tolerance, damping
    fill_states(all_means, means, model.n_layers)
    for l in range(model.n_layers):
        fill_context(&ctx[l], contexts[l])
    scratch = workspace.reserve(dg_mean_field_bytes(c, n_rows, in_steps, n_threads))
    if n_rows:
        with nogil:
            dg_mean_field(c, all_means, ctx, &until, &sweeps[0], &change[0], n_rows,
                          scratch, n_threads)


# --- phases -----------------------------------------------------------------------------------

cdef int fill_update(dg_update *update, offsets, differences, gains, follow, float learning_rate,
                     float momentum, float weight_decay, float averaging) except -1:
    """All but the numbers of rows."""
    memset(update, 0, sizeof(dg_update))
    update.learning_rate = learning_rate
    update.momentum = momentum
    update.weight_decay = weight_decay
    update.averaging = averaging
    if offsets is not None:
        update.offset_lower, update.offset_upper = floats_of(offsets[0]), floats_of(offsets[1])
        update.difference_lower = floats_of(differences[0])
        update.difference_upper = floats_of(differences[1])
    if gains is not None:
        update.gain_lower, update.gain_upper = floats_of(gains[0]), floats_of(gains[1])
    if follow is not None:
        update.follow_lower, update.follow_upper = floats_into(follow[0]), floats_into(follow[1])
    return 0


cdef dg_repack *fill_repack(dg_repack *repack, Packed packed):
    """What is packed anew after an update; NULL where `packed` is None."""
    if packed is None:
        return NULL
    repack.packed = &packed.form
    repack.lower, repack.upper = &packed.lower, &packed.upper
    return repack


def update_weights(positive, negative, offsets, differences, gains, gradient, follow, weights,
                   velocity, average, Packed packed, float learning_rate, float momentum,
                   float weight_decay, float averaging, Workspace workspace, int n_threads):
    """The tiled update, or its gradient alone; True when a weight became non-finite.

    `positive` and `negative` are pairs (lower, upper) of states; `offsets`, `differences` and
    `gains` pairs of float32 vectors or None. OUT: gradient, follow (a pair of float32 vectors, what
    the biases of either layer follow by, or None; it needs offsets). INOUT: weights, velocity,
    average, packed (the packed form of the weights, or None).
    """
    cdef dg_phase phases[2]
    cdef dg_update update
    cdef dg_repack repack
    cdef dg_repack *anew = fill_repack(&repack, packed)
    cdef Py_ssize_t n_lower = weights.shape[0], n_upper = weights.shape[1]
    cdef float *gradient_out = floats_into(gradient)
    cdef float *weights_out = floats_into(weights)
    cdef float *velocity_out = floats_into(velocity)
    cdef float *average_out = floats_into(average)
    cdef char *scratch
    cdef int overflow
    fill_update(&update, offsets, differences, gains, follow, learning_rate, momentum,
                weight_decay, averaging)
    for side, phase in enumerate((positive, negative)):
        fill_rows(&phases[<int> side].lower, phase[0])
        fill_rows(&phases[<int> side].upper, phase[1])
    update.scale_positive = 1.0 / max(phases[0].lower.n_rows, 1)
    update.scale_negative = 1.0 / max(phases[1].lower.n_rows, 1)
    scratch = workspace.reserve(dg_update_bytes(phases[0].lower.n_rows, phases[1].lower.n_rows,
                                                n_lower, n_upper, n_threads))
    with nogil:
        overflow = dg_update_weights(&phases[0], &phases[1], n_lower, n_upper, &update,
                                     gradient_out, weights_out, velocity_out, average_out, anew,
                                     scratch, n_threads)
    return bool(overflow)


def update_from_sums(float[:, ::1] positive, float[:, ::1] negative, double per_positive,
                     double per_negative, offsets, differences, gains, gradient, follow, weights,
                     velocity, average, Packed packed, float learning_rate, float momentum,
                     float weight_decay, float averaging, Workspace workspace, int n_threads):
    """The update of :func:`update_weights` from x^T y of each phase, a sum over rows.

    per_positive, per_negative: what the sums are multiplied by, 1 / n where all rows count alike.
    """
    cdef dg_update update
    cdef dg_repack repack
    cdef dg_repack *anew = fill_repack(&repack, packed)
    cdef Py_ssize_t n_lower = weights.shape[0], n_upper = weights.shape[1]
    cdef float *gradient_out = floats_into(gradient)
    cdef float *weights_out = floats_into(weights)
    cdef float *velocity_out = floats_into(velocity)
    cdef float *average_out = floats_into(average)
    cdef char *scratch
    cdef int overflow
    fill_update(&update, offsets, differences, gains, follow, learning_rate, momentum,
                weight_decay, averaging)
    update.scale_positive = per_positive
    update.scale_negative = per_negative
    scratch = workspace.reserve(dg_update_bytes(0, 0, n_lower, n_upper, n_threads))
    with nogil:
        overflow = dg_update_from_sums(&positive[0, 0], &negative[0, 0], n_lower, n_upper, &update,
                                       gradient_out, weights_out, velocity_out, average_out,
                                       anew, scratch, n_threads)
    return bool(overflow)


cdef int point_to(dg_step_arrays *to, arrays, int n_layers) except -1:
    """Where arrays of all weights, and then of all biases, begin; None: all stay NULL."""
    cdef int l
    if arrays is None:
        return 0
    for l in range(n_layers - 1):
        to.weights[l] = floats_into(arrays[l])
    for l in range(n_layers):
        to.bias[l] = floats_into(arrays[n_layers - 1 + l])
    return 0


cdef class Updates:
    """Whole updates of a machine, made by one call each or several by one.

    `model` and `packed`, the packed forms of all matrices, point to weights and biases, which each
    update changes: INOUT. `largest_means` are those of each layer's units; `until` is (largest
    number of sweeps, tolerance, damping) of mean field, or None with two layers. `sweep_keys` and
    `data_key` are those of the random streams of the sweeps and of the first draw of CD, whose
    `purposes` are by layer; `weight_rates` are by matrix.
    """

    cdef dg_run run
    cdef Chain model
    cdef object owners  # of the arrays that the pointers point into: they must stay alive
    cdef uint64_t[::1] keys

    def __cinit__(self, Chain model, packed, weights, biases, largest_means, until,
                  bint persistent, uint64_t data_key, uint64_t[::1] sweep_keys, purposes,
                  double offset_rate, float momentum, float weight_decay, weight_rates):
        cdef dg_run *run = &self.run
        cdef int l, n_layers = model.n_layers
        cdef double largest
        self.model, self.keys = model, sweep_keys
        self.owners = packed, weights, biases
        for l in range(n_layers - 1):
            fill_repack(&run.repack[l], packed[l])
            run.weights[l] = floats_into(weights[l])
            run.weight_rate[l] = weight_rates[l]
        for l in range(n_layers):
            run.bias[l] = floats_into(biases[l])
            run.purpose[l] = purposes[l]
            largest = largest_means[l]
            run.mean_steps[l], run.mean_unit[l] = 255.0 / largest, largest / 255.0
        if until is not None:
            run.until.max_sweeps, run.until.tolerance, run.until.damping = until
            run.until.in_steps = True
        run.persistent, run.n_sweeps = persistent, sweep_keys.shape[0]
        run.data_key, run.sweep_keys = data_key, &sweep_keys[0]
        run.offset_rate, run.momentum, run.weight_decay = offset_rate, momentum, weight_decay

    def make(self, states, const int64_t[::1] chosen, Py_ssize_t batch_size, int64_t first_row,
             offsets, from_states, particles, int64_t first_particle, velocity, average,
             const double[::1] rates, const double[::1] averaging, uint64_t position, threads,
             Workspace workspace):
        """Make an update of each `batch_size` rows of `states` that `chosen` names, or, where it
        is None, one of all of them. Returns how many are made, and whether the last one left a
        parameter that is not finite; one whose chosen rows hold no states is not made.

        offsets, by layer, or None: INOUT, but the first. from_states: states of the particles by
        layer, which go to `particles`, arrays by layer: OUT; both None for CD. velocity, average:
        INOUT, for all weights and then all biases, or None. rates, averaging: by update. `threads`
        are those of dg_update_threads.
        """
        cdef dg_batches batches
        cdef dg_moving moving
        cdef dg_update_threads n
        cdef Py_ssize_t made = 0
        cdef int l, n_layers = self.model.n_layers
        cdef dg_made why
        cdef char *scratch
        self.run.chain = self.model.ready()
        memset(&batches, 0, sizeof(batches))
        memset(&moving, 0, sizeof(moving))
        fill_rows(&batches.states, states)
        if chosen is not None:
            batches.chosen, batches.n_chosen = &chosen[0], chosen.shape[0]
        batches.batch_size, batches.first_row = batch_size, first_row
        point_to(&moving.velocity, velocity, n_layers)
        point_to(&moving.average, average, n_layers)
        by_data, by_model, n.mean_field, n.sums, by_matrix = threads
        for l in range(n_layers):
            n.data[l], n.model[l] = by_data[l], by_model[l]
            if l:
                n.weights[l - 1] = by_matrix[l - 1]
            if offsets is not None:
                moving.offset[l] = floats_into(offsets[l])
            if particles is not None:
                moving.from_[l], moving.to[l] = bytes_of(from_states[l]), bytes_into(particles[l])
        if particles is not None:
            moving.n_particles, moving.first_particle = len(from_states[0]), first_particle
        scratch = workspace.reserve(dg_update_run_bytes(&self.run, &batches, moving.n_particles,
                                                        &n))
        with nogil:
            why = dg_make_updates(&self.run, &batches, &moving, &rates[0], &averaging[0],
                                  position, &n, scratch, &made)
        return made, why == DG_NOT_FINITE


def update_tasks(Py_ssize_t n_lower, Py_ssize_t n_upper, int n_threads):
    """Independent tasks of an update of this shape."""
    return dg_update_tasks(n_lower, n_upper, n_threads)


def largest_byte(values):
    """The largest of an array of bytes, C-contiguous; 0 where it is empty."""
    cdef const uint8_t *bytes_to_read = bytes_of(values)
    cdef Py_ssize_t n = values.size
    cdef int largest
    with nogil:
        largest = dg_largest_byte(bytes_to_read, n)
    return largest


def to_bytes(values, float per_unit, out):
    """out = values by unit, to the nearest whole number: OUT, uint8 of the shape of values.

    Returns whether a value has no such number from 0 to 255.
    """
    cdef const float *from_values = floats_of(values)
    cdef uint8_t *to = bytes_into(out)
    cdef Py_ssize_t n = out.size
    cdef int beyond
    with nogil:
        beyond = dg_to_bytes(from_values, n, per_unit, to)
    return bool(beyond)


def entry_starts(const float[:, ::1] states, int64_t[::1] starts):
    """starts[r] .. starts[r + 1]: OUT, where the entries of row r other than zero will lie.

    Returns how many there are in all.
    """
    cdef Py_ssize_t n_rows = states.shape[0], n_columns = states.shape[1]
    cdef int64_t n_entries = 0
    starts[0] = 0
    if n_rows and n_columns:
        with nogil:
            n_entries = dg_entry_starts(&states[0, 0], n_rows, n_columns, &starts[0])
    return n_entries


def list_entries(const float[:, ::1] states, float[::1] values, int32_t[::1] indices):
    """values, indices: OUT, the entries of all rows that are not zero, and their columns.

    They have room for one more than there are.
    """
    cdef Py_ssize_t n_rows = states.shape[0], n_columns = states.shape[1]
    if n_rows and n_columns:
        with nogil:
            dg_list_entries(&states[0, 0], n_rows, n_columns, &values[0], &indices[0])


def weight_sums(lower, upper, out, Workspace workspace, int n_threads):
    """out = lower^T upper, summed over rows: OUT. Only `lower` may be compressed rows."""
    cdef dg_phase phases[2]
    cdef dg_update update
    cdef Py_ssize_t n_lower = out.shape[0], n_upper = out.shape[1]
    cdef float *gradient = floats_into(out)
    cdef char *scratch
    memset(&update, 0, sizeof(update))
    memset(phases, 0, sizeof(phases))
    fill_rows(&phases[0].lower, lower)
    fill_rows(&phases[0].upper, upper)
    update.scale_positive = 1.0
    scratch = workspace.reserve(dg_update_bytes(phases[0].lower.n_rows, 0, n_lower, n_upper,
                                                n_threads))
    with nogil:
        dg_update_weights(&phases[0], &phases[1], n_lower, n_upper, &update, gradient, NULL,
                          NULL, NULL, NULL, scratch, n_threads)


def layer_sums(x, factor, total, square, weighted, int n_threads):
    """Sums over rows of x and, where there is an array for them, of x^2 and factor * x: INOUT."""
    cdef rows states
    cdef Py_ssize_t size = len(total)
    cdef const double *factors = doubles_of(factor)
    cdef double *products = doubles_into(weighted)
    cdef double *totals = doubles_into(total)
    cdef double *squares = doubles_into(square)
    fill_rows(&states, x)
    if states.n_rows:
        with nogil:
            dg_layer_sums(&states, size, factors, totals, squares, products, n_threads)


def phase_sums(states, sizes, squares, out, int n_threads):
    """out: rows for the sums over states of x and, if it has a second one, of x^2; INOUT.

    Columns are the units of all layers. `squares` says by layer whether those of x^2 are wanted.
    """
    cdef rows x[64]
    cdef Py_ssize_t size, n_units = out.shape[1]
    cdef int l, n_layers = len(states)
    cdef double *total = doubles_into(out)
    cdef double *square
    fill_states(x, states, n_layers)
    if x[0].n_rows == 0:
        return
    for l in range(n_layers):
        size, square = sizes[l], total + n_units if squares[l] else NULL
        with nogil:
            dg_layer_sums(&x[l], size, NULL, total, square, NULL, n_threads)
        total += size


def row_dot(x, offset, out, int n_threads):
    """out[r] = sum_j x[r, j] offset[j]: OUT."""
    cdef rows states
    cdef Py_ssize_t size = len(offset)
    cdef const float *offsets = floats_of(offset)
    cdef double *dots = doubles_into(out)
    fill_rows(&states, x)
    if states.n_rows:
        with nogil:
            dg_row_dot(&states, size, offsets, dots, n_threads)


def adam_change(float[::1] gradient, float[::1] first, float[::1] second, float new_first,
                float new_second, float rate, float correction, float epsilon, int n_threads):
    """Both moments move, then gradient becomes the change of the parameter: INOUT, all three."""
    if gradient.shape[0]:
        with nogil:
            dg_adam_change(&gradient[0], &first[0], &second[0], gradient.shape[0], new_first,
                           new_second, rate, correction, epsilon, n_threads)


cdef int descend(dg_descent *d, parameters, gradient, first, second, average, float weight_decay,
                 float rate, float averaging, int n_threads) except -1:
    cdef int overflow
    d.parameters, d.gradient = floats_into(parameters), floats_into(gradient)
    d.first, d.second = floats_into(first), floats_into(second)
    d.average = floats_into(average)
    d.n = parameters.size
    d.weight_decay, d.rate, d.averaging = weight_decay, rate, averaging
    with nogil:
        overflow = dg_descend(d, n_threads)
    return overflow


def descend_sgd(parameters, gradient, velocity, average, float weight_decay, float rate,
                float momentum, float averaging, int n_threads):
    """One step of SGD down the gradient; True when a parameter became non-finite.

    INOUT: all arrays, C-contiguous float32; velocity and average may be None.
    """
    cdef dg_descent d
    memset(&d, 0, sizeof(d))
    d.momentum = momentum
    return bool(descend(&d, parameters, gradient, velocity, None, average, weight_decay, rate,
                        averaging, n_threads))


def descend_adam(parameters, gradient, first, second, average, float weight_decay, float rate,
                 float averaging, float new_first, float new_second, float correction,
                 float epsilon, int n_threads):
    """One step of Adam, as :func:`descend_sgd`; numbers as for :func:`adam_change`."""
    cdef dg_descent d
    memset(&d, 0, sizeof(d))
    d.new_first, d.new_second = new_first, new_second
    d.correction, d.epsilon = correction, epsilon
    return bool(descend(&d, parameters, gradient, first, second, average, weight_decay, rate,
                        averaging, n_threads))


def logistic_gradient(gradient, output):
    """Turn a gradient by the outputs of logistic units into one by their fields, in place.

    Both are C-contiguous float32 arrays of one size.
    """
    cdef float *values = floats_into(gradient)
    cdef const float *outputs = floats_into(output)
    cdef Py_ssize_t n = gradient.size
    with nogil:
        dg_logistic_gradient(values, outputs, n)


# --- enumeration ------------------------------------------------------------------------------

cdef int fill_sites(dg_sites *out, object sites, Py_ssize_t n_fields) except -1:
    cdef const int64_t[::1] radix, offset
    radix, offset, shift, own = sites
    memset(out, 0, sizeof(dg_sites))
    out.n_fields = n_fields
    out.n_sites = radix.shape[0]
    if out.n_sites:
        out.radix, out.offset = &radix[0], &offset[0]
        out.shift, out.own = doubles_of(shift), doubles_of(own)
    return 0


cdef class Segments:
    """The layers that are summed out, as `struct dg_segment`: a list of tuples (kind, n_copies,
    size, group, precision or None)."""

    cdef dg_segment *data
    cdef int n
    cdef object owners  # of the precisions

    def __cinit__(self, segments):
        cdef int s
        self.owners, self.n = list(segments), len(segments)
        self.data = <dg_segment *> malloc(max(self.n, 1) * sizeof(dg_segment))
        if self.data == NULL:
            raise MemoryError(f"no memory for {self.n} segments")
        for s, (kind, n_copies, size, group, precision) in enumerate(self.owners):
            self.data[s].kind, self.data[s].n_copies = kind_of(kind), n_copies
            self.data[s].size, self.data[s].group = size, group
            self.data[s].precision = doubles_of(precision)

    def __dealloc__(self):
        free(self.data)


def enumerate_states(high, low, const double[::1] bias, segments, double[::1] table,
                     double[::1] scratch, double[::1] out, int64_t first_high,
                     Py_ssize_t per_fold, int n_threads):
    """out[s]: log of the summed weights of all low states at high state first_high + s: OUT.

    `high` and `low` are (radix, offset, shift, own) as in `struct dg_sites`, `segments` those of
    the side that is summed out (`Segments`).
    """
    cdef dg_sites high_sites, low_sites
    cdef Segments summed = Segments(segments)
    cdef dg_segment *parts = summed.data
    cdef int n_segments = summed.n
    cdef int64_t n_high = out.shape[0]
    fill_sites(&high_sites, high, bias.shape[0])
    fill_sites(&low_sites, low, bias.shape[0])
    with nogil:
        dg_enumerate(&high_sites, &low_sites, &bias[0], parts, n_segments, first_high, n_high,
                     per_fold, &table[0], &scratch[0], &out[0], n_threads)


PRODUCT_LANES = DG_PRODUCT_LANES


def segments_log_normalizer(segments, const double[:, ::1] field, double[::1] out):
    """out[r] = log sum_x exp(field[r] x), summed over the units of all segments: OUT."""
    cdef Segments summed = Segments(segments)
    cdef dg_segment *parts = summed.data
    cdef int n_segments = summed.n
    cdef Py_ssize_t r
    if field.shape[1]:
        with nogil:
            for r in range(field.shape[0]):
                out[r] = dg_segments_log_normalizer(parts, n_segments, &field[r, 0])


# --- ratings ----------------------------------------------------------------------------------

cdef int fill_ratings_model(dg_ratings_model *out, model, bint written=False) except -1:
    """From (weights, bias, hidden bias, conditional or None, scale, n_hidden); see ratings.h."""
    cdef int flags = PyBUF_WRITABLE if written else 0
    out.n_columns, out.n_values, out.width = model[0].shape
    out.weights = <float *> data_of(model[0], b"f", flags)
    out.bias = <float *> data_of(model[1], b"f", flags)
    out.hidden_bias = <float *> data_of(model[2], b"f", flags)
    out.conditional = <float *> data_of(model[3], b"f", flags)
    out.scale, out.n_hidden = floats_of(model[4]), model[5]
    return 0


cdef int fill_ratings(dg_ratings *out, ratings, order) except -1:
    """From (starts, columns, values) and the numbers of the rows that are meant, or None: all."""
    cdef const int64_t[::1] starts = ratings[0], numbers
    cdef const int32_t[::1] columns = ratings[1]
    cdef const uint8_t[::1] values = ratings[2]
    out.starts, out.order = &starts[0], NULL
    out.columns = &columns[0] if columns.shape[0] else NULL
    out.values = &values[0] if values.shape[0] else NULL
    out.n_rows = starts.shape[0] - 1
    if order is not None:
        numbers = order
        out.n_rows = numbers.shape[0]
        out.order = &numbers[0] if numbers.shape[0] else NULL
    return 0


def ratings_hidden(ratings, order, model, bint fields, float[:, ::1] out, int n_threads):
    """out: OUT, (n_rows, width), means of the hidden units of rows, or their fields."""
    cdef dg_ratings_model m
    cdef dg_ratings rows
    fill_ratings_model(&m, model)
    fill_ratings(&rows, ratings, order)
    if rows.n_rows:
        with nogil:
            dg_ratings_hidden(&m, &rows, fields, &out[0, 0], n_threads)


def ratings_pairs(const float[:, ::1] hidden, const int64_t[::1] row, const int32_t[::1] column,
                  model, probabilities, expected, int n_threads):
    """probabilities (n, K), expected (n,): OUT, each an array or None, of pairs of a row of hidden
    means and a column."""
    cdef dg_ratings_model m
    cdef float *p = floats_into(probabilities)
    cdef float *e = floats_into(expected)
    fill_ratings_model(&m, model)
    if row.shape[0]:
        with nogil:
            dg_ratings_pairs(&m, &hidden[0, 0], &row[0], &column[0], row.shape[0], p, e, n_threads)


def ratings_scores(const float[:, ::1] hidden, const int32_t[::1] columns, model, bint top,
                   float[:, ::1] out, bint transposed, int n_threads):
    """out: OUT, (n_rows, n_columns) or transposed: expected ratings, or with `top` probabilities of
    the highest value, of all rows of hidden means and these columns."""
    cdef dg_ratings_model m
    cdef Py_ssize_t row_stride = 1 if transposed else out.shape[1]
    cdef Py_ssize_t column_stride = out.shape[1] if transposed else 1
    fill_ratings_model(&m, model)
    if hidden.shape[0] and columns.shape[0]:
        with nogil:
            dg_ratings_scores(&m, &hidden[0, 0], hidden.shape[0], &columns[0], columns.shape[0],
                              top, &out[0, 0], row_stride, column_stride, n_threads)


def ratings_top(const float[:, ::1] scores, int64_t[:, ::1] ids, float[:, ::1] top, int n_threads):
    """ids, top: OUT, (n_rows, n): columns of the highest scores of each row, and these."""
    if scores.shape[0] and ids.shape[1]:
        with nogil:
            dg_ratings_top(&scores[0, 0] if scores.shape[1] else NULL, scores.shape[0],
                           scores.shape[1], ids.shape[1], &ids[0, 0], &top[0, 0], n_threads)


def ratings_learn(ratings, const int64_t[::1] order, model, particles, step, bint chains,
                  uint64_t key, uint64_t position, uint32_t purpose, Py_ssize_t longest,
                  Workspace workspace):
    """Learn from rows, one after the other; the arrays of `model` and `particles`: INOUT.

    `step` is (rate, decay, factors of the rate for hidden bias and conditional weights, least and
    most share that is masked, share of the squared error, sweeps). `longest` is a number of
    ratings that no row exceeds. Returns the sums of the loss and of squared errors, and their
    number.
    """
    cdef dg_ratings_model m
    cdef dg_ratings rows
    cdef dg_ratings_step s
    cdef dg_ratings_sums sums
    cdef dg_stream stream
    cdef char *scratch
    fill_ratings_model(&m, model, written=True)
    fill_ratings(&rows, ratings, order)
    (s.rate, s.decay, s.hidden_rate, s.conditional_rate, s.fewest, s.most, s.squared,
     s.n_sweeps) = step
    s.particles = bytes_into(particles)
    stream.key, stream.step, stream.first_row, stream.purpose = key, position, 0, purpose
    sums.loss, sums.squared, sums.n = 0.0, 0.0, 0
    scratch = workspace.reserve(dg_ratings_learn_bytes(&m, longest))
    with nogil:
        dg_ratings_learn(&m, &rows, &s, &stream, chains, &sums, scratch)
    return sums.loss, sums.squared, sums.n


# --- random words and elementwise functions ---------------------------------------------------

def random_words(uint32_t[:, ::1] out, uint64_t key, uint64_t step, uint32_t purpose,
                 int64_t first_row):
    """out[r, j]: word j of row first_row + r at this step and purpose: OUT."""
    cdef uint32_t counter[4]
    cdef uint32_t keys[2]
    cdef uint32_t quad[4]
    cdef Py_ssize_t r, j
    cdef uint64_t row
    with nogil:
        for r in range(out.shape[0]):
            row = <uint64_t> (first_row + r)
            keys[0] = (<uint32_t> key) ^ (<uint32_t> (step >> 32))
            keys[1] = (<uint32_t> (key >> 32)) ^ (<uint32_t> (row >> 32))
            for j in range(out.shape[1]):
                if j % 4 == 0:
                    counter[0] = <uint32_t> (j // 4)
                    counter[1] = <uint32_t> row
                    counter[2] = <uint32_t> step
                    counter[3] = purpose
                    dg_philox(counter, keys, quad)
                out[r, j] = quad[j % 4]


def philox(const uint32_t[::1] counter, const uint32_t[::1] key, uint32_t[::1] out):
    """Philox4x32-10 of one counter: OUT."""
    dg_philox(&counter[0], &key[0], &out[0])


def uniform(const uint32_t[::1] words, float[::1] out):
    """Words to uniforms in (0, 1): OUT."""
    cdef Py_ssize_t i
    for i in range(words.shape[0]):
        out[i] = dg_uniform(words[i])


def elementwise(str name, const float[::1] x, float[::1] out):
    """exp, log, logistic or softplus of x: OUT."""
    cdef Py_ssize_t i
    cdef int which = ("exp", "log", "logistic", "softplus").index(name)
    for i in range(x.shape[0]):
        if which == 0:
            out[i] = dg_exp(x[i])
        elif which == 1:
            out[i] = dg_log(x[i])
        elif which == 2:
            out[i] = dg_logistic(x[i])
        else:
            out[i] = dg_softplus(x[i])


# --- configuration ----------------------------------------------------------------------------

def backend():
    """The name of the instruction set in use."""
    return dg_backend_current().name.decode()


def available_backends():
    """The instruction sets that this build and this machine have, the best one last."""
    names = []
    while dg_backend_name(len(names)) != NULL:
        names.append(dg_backend_name(len(names)).decode())
    return names


def select_backend(str name):
    """Use one instruction set from now on (tests and DEEPGEN_CPU)."""
    return dg_backend_select(name.encode()) == 0


def has_openmp():
    """Whether the kernels were built with OpenMP."""
    return bool(dg_openmp)
