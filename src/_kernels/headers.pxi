# What the C kernels offer, as Cython reads it: each block repeats one header of this folder.
# Textually part of engine.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "philox.h":
    struct dg_stream:
        uint64_t key
        uint64_t step
        int64_t first_row
        uint32_t purpose
    void dg_philox(const uint32_t *counter, const uint32_t *key, uint32_t *out) noexcept nogil
    float dg_uniform(uint32_t word) noexcept nogil

cdef extern from "chain.h":
    struct dg_packed:
        int layout
        float scale
        char *memory
    int DG_MAX_LAYERS
    int DG_BYTES
    int DG_FLOATS
    int DG_SPARSE
    enum dg_kind:
        DG_BINARY
        DG_GAUSSIAN
        DG_SOFTMAX
        DG_LINEAR
        DG_RECTIFIED
        DG_MULTINOMIAL
    struct layer:
        dg_kind kind
        int n_copies
        Py_ssize_t size
        Py_ssize_t group
        const float *bias
        const float *precision
        int n_parts
        layer *parts
        const int32_t *part_of
        Py_ssize_t n_blocks
        const int64_t *blocks
        Py_ssize_t first
        Py_ssize_t end
        Py_ssize_t first_word
    struct chain:
        int n_layers
        layer *layers
        const float **weights
        const dg_packed **packed
    struct rows:
        int storage
        float unit
        Py_ssize_t n_rows
        Py_ssize_t stride
        const void *data
        const int64_t *start
        const int32_t *index
    struct context:
        const float *bias_rows
        const float *bias_scale
        const int64_t *trials
        const uint8_t *held
        const float *beta
        const float *base_bias
        Py_ssize_t base_stride
        const float *base_precision

cdef extern from "backend.h":
    struct dg_outputs:
        float *mean
        uint8_t *sample_bytes
        float *sample_floats
        const float *beta_from
    struct dg_update:
        float scale_positive
        float scale_negative
        float learning_rate
        float momentum
        float weight_decay
        float averaging
        const float *offset_lower
        const float *offset_upper
        const float *difference_lower
        const float *difference_upper
        const float *gain_lower
        const float *gain_upper
        float *follow_lower
        float *follow_upper
    struct dg_fixed:
        int layout
    struct dg_backend_struct "dg_backend":
        const char *name
        const dg_fixed *fixed
    const dg_backend_struct *dg_backend_current "dg_backend"() noexcept nogil
    int dg_backend_select(const char *name) noexcept nogil
    const char *dg_backend_name(int n) noexcept nogil

cdef extern from "fixed_point.h":
    size_t dg_packed_bytes(const layer *lower, const layer *upper) noexcept nogil
    void dg_pack(dg_packed *packed, const layer *lower, const layer *upper, const float *weights,
                 int n_threads) noexcept nogil
    int64_t dg_round_weights(float *weights, Py_ssize_t n, int n_threads) noexcept nogil

cdef extern from "elementwise.h":
    float dg_exp(float x) noexcept nogil
    float dg_log(float x) noexcept nogil
    float dg_logistic(float x) noexcept nogil
    float dg_softplus(float x) noexcept nogil

cdef extern from "conditional.h":
    void dg_conditional(const chain *c, int l, const rows *states, const context *ctx,
                        const dg_stream *stream, dg_outputs *out, double *log_normalizer,
                        Py_ssize_t n_rows, void *scratch, int n_threads) noexcept nogil
    Py_ssize_t dg_panel_rows(const chain *c, int l) noexcept nogil
    Py_ssize_t dg_conditional_tasks(const chain *c, int l, Py_ssize_t n_rows,
                                    int n_threads) noexcept nogil
    size_t dg_conditional_bytes(const chain *c, Py_ssize_t n_rows, int n_threads) noexcept nogil
    void dg_gibbs(const chain *c, const uint8_t *free_layers, rows *states,
                  const context *contexts, const dg_stream *stream, Py_ssize_t n_sweeps,
                  Py_ssize_t n_rows, void *scratch, int n_threads) noexcept nogil
    void dg_layer_log_weight(const layer *one, const rows *x, const context *ctx, double *out,
                             int n_threads) noexcept nogil

cdef extern from "mean_field.h":
    struct dg_fixed_point:
        Py_ssize_t max_sweeps
        int first_parity
        int in_steps
        float tolerance
        float damping
    void dg_mean_field(const chain *c, rows *means, const context *contexts,
                       const dg_fixed_point *until, int32_t *sweeps, float *change,
                       Py_ssize_t n_rows, void *scratch, int n_threads) noexcept nogil
    size_t dg_mean_field_bytes(const chain *c, Py_ssize_t n_rows, int in_steps,
                               int n_threads) noexcept nogil

cdef extern from "byte_sums.h":
    int dg_largest_byte(const uint8_t *values, Py_ssize_t n) noexcept nogil
    int dg_to_bytes(const float *values, Py_ssize_t n, float per_unit, uint8_t *out) noexcept nogil

cdef extern from "compress.h":
    int64_t dg_entry_starts(const float *states, Py_ssize_t n_rows, Py_ssize_t n_columns,
                            int64_t *start) noexcept nogil
    void dg_list_entries(const float *states, Py_ssize_t n_rows, Py_ssize_t n_columns, float *value,
                         int32_t *index) noexcept nogil

cdef extern from "phases.h":
    struct dg_phase:
        rows lower
        rows upper
    struct dg_repack:
        dg_packed *packed
        const layer *lower
        const layer *upper
    int dg_update_weights(const dg_phase *positive, const dg_phase *negative,
                          Py_ssize_t n_lower, Py_ssize_t n_upper, const dg_update *update,
                          float *gradient, float *weights, float *velocity, float *average,
                          dg_repack *repack, void *scratch, int n_threads) noexcept nogil
    int dg_update_from_sums(const float *positive, const float *negative, Py_ssize_t n_lower,
                            Py_ssize_t n_upper, const dg_update *update, float *gradient,
                            float *weights, float *velocity, float *average,
                            dg_repack *repack, void *scratch, int n_threads) noexcept nogil
    size_t dg_update_bytes(Py_ssize_t n_positive, Py_ssize_t n_negative, Py_ssize_t n_lower,
                           Py_ssize_t n_upper, int n_threads) noexcept nogil
    Py_ssize_t dg_update_tasks(Py_ssize_t n_lower, Py_ssize_t n_upper,
                               int n_threads) noexcept nogil
    void dg_layer_sums(const rows *x, Py_ssize_t size, const double *factor, double *total,
                       double *square, double *weighted, int n_threads) noexcept nogil
    void dg_row_dot(const rows *x, Py_ssize_t size, const float *offset, double *out,
                    int n_threads) noexcept nogil

cdef extern from "updates.h":
    struct dg_run:
        const chain *chain
        dg_repack *repack
        float **weights
        float **bias
        float *mean_steps
        float *mean_unit
        dg_fixed_point until
        int persistent
        int n_sweeps
        uint64_t data_key
        const uint64_t *sweep_keys
        uint32_t *purpose
        double offset_rate
        double *weight_rate
        float momentum
        float weight_decay
    struct dg_batches:
        rows states
        const int64_t *chosen
        Py_ssize_t n_chosen
        Py_ssize_t batch_size
        int64_t first_row
    struct dg_step_arrays:
        float **weights
        float **bias
    struct dg_moving:
        dg_step_arrays velocity
        dg_step_arrays average
        float **offset
        Py_ssize_t n_particles
        int64_t first_particle
        const uint8_t **from_ "from"
        uint8_t **to
    struct dg_update_threads:
        int *data
        int *model
        int mean_field
        int sums
        int *weights
    enum dg_made:
        DG_MADE
        DG_NOT_FINITE
        DG_NO_STATE
    dg_made dg_make_updates(const dg_run *run, const dg_batches *batches, const dg_moving *moving,
                            const double *rates, const double *averaging, uint64_t position,
                            const dg_update_threads *threads, void *scratch,
                            Py_ssize_t *made) noexcept nogil
    size_t dg_update_run_bytes(const dg_run *run, const dg_batches *batches,
                               Py_ssize_t n_particles,
                               const dg_update_threads *threads) noexcept nogil

cdef extern from "steps.h":
    void dg_adam_change(float *gradient, float *first, float *second, Py_ssize_t n,
                        float new_first, float new_second, float rate, float correction,
                        float epsilon, int n_threads) noexcept nogil
    struct dg_descent:
        float *parameters
        float *gradient
        float *first
        float *second
        float *average
        Py_ssize_t n
        float weight_decay
        float rate
        float averaging
        float momentum
        float new_first
        float new_second
        float correction
        float epsilon
    int dg_descend(const dg_descent *descent, int n_threads) noexcept nogil
    void dg_logistic_gradient(float *gradient, const float *output,
                              Py_ssize_t n) noexcept nogil

cdef extern from "enumerate.h":
    int DG_PRODUCT_LANES
    struct dg_sites:
        Py_ssize_t n_sites
        Py_ssize_t n_fields
        const int64_t *radix
        const int64_t *offset
        const double *shift
        const double *own
    struct dg_segment:
        dg_kind kind
        int n_copies
        Py_ssize_t size
        Py_ssize_t group
        const double *precision
    void dg_enumerate(const dg_sites *high, const dg_sites *low, const double *bias,
                      const dg_segment *segments, int n_segments, int64_t first_high,
                      int64_t n_high, Py_ssize_t per_fold, double *table, double *scratch,
                      double *out, int n_threads) noexcept nogil
    double dg_segments_log_normalizer(const dg_segment *segments, int n_segments,
                                      const double *field) noexcept nogil

cdef extern from *:
    """
    #ifdef _OPENMP
    static const int dg_openmp = 1;
    #else
    static const int dg_openmp = 0;
    #endif
    """
    int dg_openmp

cdef extern from "ratings.h":
    struct dg_ratings_model:
        float *weights
        float *bias
        float *hidden_bias
        float *conditional
        const float *scale
        Py_ssize_t n_columns
        Py_ssize_t n_values
        Py_ssize_t n_hidden
        Py_ssize_t width
    struct dg_ratings:
        const int64_t *starts
        const int32_t *columns
        const uint8_t *values
        const int64_t *order
        Py_ssize_t n_rows
    struct dg_ratings_step:
        float rate
        float decay
        float hidden_rate
        float conditional_rate
        float fewest
        float most
        float squared
        int n_sweeps
        uint8_t *particles
    struct dg_ratings_sums:
        double loss
        double squared
        int64_t n
    void dg_ratings_hidden(const dg_ratings_model *model, const dg_ratings *rows, int quantity,
                           float *out, int n_threads) noexcept nogil
    void dg_ratings_pairs(const dg_ratings_model *model, const float *hidden, const int64_t *row,
                          const int32_t *column, Py_ssize_t n, float *probabilities,
                          float *expected, int n_threads) noexcept nogil
    void dg_ratings_scores(const dg_ratings_model *model, const float *hidden, Py_ssize_t n_rows,
                           const int32_t *column, Py_ssize_t n, int top, float *scores,
                           Py_ssize_t row_stride, Py_ssize_t column_stride,
                           int n_threads) noexcept nogil
    void dg_ratings_top(const float *scores, Py_ssize_t n_rows, Py_ssize_t n_columns, Py_ssize_t n,
                        int64_t *ids, float *top, int n_threads) noexcept nogil
    void dg_ratings_learn(const dg_ratings_model *model, const dg_ratings *rows,
                          const dg_ratings_step *step, const dg_stream *stream, int chains,
                          dg_ratings_sums *sums, void *scratch) noexcept nogil
    size_t dg_ratings_learn_bytes(const dg_ratings_model *model,
                                  Py_ssize_t longest) noexcept nogil
