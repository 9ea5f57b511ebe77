"""Mixed units: parts of several unit types side by side, as the columns of a table are."""

from itertools import accumulate, pairwise

import numpy as np

from deepgen.checks import RefusedValue, as_list, shown
from deepgen.layers.units import Units, as_vector
from deepgen.rows.states import dense


class Mixed(Units):
    """Units of several types in one layer: some columns binary, some categorical, some real.

    The layer of a mixed-variate machine (Tran, Phung & Venkatesh 2011): given their fields the
    parts are independent, and each is what its own type is. States are float32.

    Parameters
    ----------
    parts : sequence of Units
        From the first column on, each with a size: ``[dg.Binary(3), dg.Softmax(4, size=4),
        dg.Gaussian(2)]`` are nine columns.
    bias : array-like of shape (size,) or None
        None: those of the parts.
    log_precision : array-like of shape (size,) or None
        None: those of the parts. Columns of parts without a precision have zeros, and what is
        given for them does not count.

    Attributes
    ----------
    parts : tuple of Units
    """

    state_dtype = np.float32

    def __init__(self, parts, *, bias=None, log_precision=None):
        parts = as_list(parts, "parts", "Units such as dg.Binary(3)")
        for part in parts:
            alone = isinstance(part, Units) and part.size and part.placed_parts[0][1] is part
            if not alone or part.takes_trials:
                raise ValueError(
                    "parts must be Units of one type that have a size, such as dg.Binary(3) or "
                    "dg.Softmax(4, size=4), and no number of draws for each row, got "
                    f"{shown(part)}"
                )
        if not parts:
            raise ValueError("parts must name one layer of Units at least, got none")
        self._cuts = tuple(accumulate((part.size for part in parts), initial=0))
        if bias is None:
            bias = np.concatenate([part.bias for part in parts])
        super().__init__(self._cuts[-1], bias=bias)
        if log_precision is not None:
            log_precision = as_vector(log_precision, self.size, "log_precision")
        self.parts = tuple(
            self._with_vectors(part, columns, log_precision)
            for part, columns in zip(parts, self._columns, strict=True)
        )
        if any(part.precision is not None for part in self.parts):
            self.log_precision = self._joined("log_precision", 0.0)
            self.precision = self._joined("precision", 1.0)

    def _with_vectors(self, part, columns, log_precision):
        """Return a part with its columns of the layer's bias and log precision."""
        changes = {"bias": self.bias[columns]}
        if part.precision is not None and log_precision is not None:
            changes["log_precision"] = log_precision[columns]
        return part.replace(**changes)

    def _joined(self, name, otherwise):
        """Return a vector of all parts, with a number for those that have none."""
        vectors = [
            np.full(part.size, otherwise) if part.precision is None else getattr(part, name)
            for part in self.parts
        ]
        return as_vector(np.concatenate(vectors), self.size, name)

    @property
    def _columns(self):
        return [slice(*cut) for cut in pairwise(self._cuts)]

    def _by_part(self, states):
        """Yield (part, its columns, their states) of rows."""
        rows = dense(states)
        for columns, part in self.placed_parts:
            yield part, columns, rows[:, columns]

    def __repr__(self):
        return f"Mixed({list(self.parts)!r})"

    @property
    def placed_parts(self):
        """The columns of each part, a slice, and the part."""
        return tuple(zip(self._columns, self.parts, strict=True))

    @property
    def form(self):
        """Like that of any layer; the forms of the parts stand for the columns of a group."""
        return super().form._replace(group=tuple(part.form for part in self.parts))

    @property
    def kind(self):
        """(kind, largest state, size, group) of each part, as the kernels read a mixed layer."""
        layers = [(*part.kernel_layer()[:3], part.size) for part in self.parts]
        return tuple((kind, most, size, group) for kind, most, group, size in layers)

    @property
    def group(self):
        """Columns of the widest site."""
        return max(part.group for part in self.parts)

    @property
    def n_sites(self):
        """How many sites all parts have."""
        return sum(part.n_sites for part in self.parts)

    @property
    def widths(self):
        """How many columns each site has."""
        return np.concatenate([part.widths for part in self.parts])

    @property
    def n_states(self):
        """How many states a site can take at most; infinite with a real-valued part."""
        return max(part.n_states for part in self.parts)

    @property
    def largest_state(self):
        """Largest absolute value of a state of any part."""
        return max(part.largest_state for part in self.parts)

    @property
    def usual_rate(self):
        """The lowest one of the parts."""
        return min(part.usual_rate for part in self.parts)

    @property
    def can_be_missing(self):
        """Whether a state of any part says so."""
        return any(part.can_be_missing for part in self.parts)

    @property
    def can_mix(self):
        """Whether all parts can be columns of a mixture."""
        return all(part.can_mix for part in self.parts)

    @property
    def learn_precision(self):
        """Whether training changes that of any part; see `learned_precisions`."""
        return any(part.learn_precision for part in self.parts)

    @property
    def learned_precisions(self):
        """Bool by column: whether training changes its precision."""
        return np.repeat([part.learn_precision for part in self.parts], np.diff(self._cuts))

    def options(self):
        """Return the parts, without their parameters."""
        return {"parts": [type(part)(size=part.size, **part.options()) for part in self.parts]}

    def parameters(self):
        """Return bias and, where a part has one, log_precision."""
        found = {"bias": self.bias}
        return found if self.precision is None else {**found, "log_precision": self.log_precision}

    def sized(self, size):
        """Return these units, which have a size; ValueError where another one is needed."""
        if self.size != size:
            raise ValueError(f"{self!r} has {self.size} columns, but {size} are needed")
        return self

    def of_columns(self, columns):
        """Return the layer of some of the columns: a part, where those are of one part alone."""
        columns, parts = np.asarray(columns, np.int64), []
        for place, part in self.placed_parts:
            own = columns[(columns >= place.start) & (columns < place.stop)] - place.start
            if len(own):
                parts.append(part.of_columns(own))
        return parts[0] if len(parts) == 1 else Mixed(parts)

    def with_learned_scale(self, learned):
        """Return the layer whose parts have scales that training changes, or leaves."""
        return Mixed([part.with_learned_scale(learned) for part in self.parts])

    def kernel_segments(self):
        """Return those of the parts."""
        return [segment for part in self.parts for segment in part.kernel_segments()]

    def moments(self, x):
        """Return minus the derivative of the energy by each own parameter, averaged over rows."""
        found = {name: np.zeros(self.size) for name in self.parameters()}
        for part, columns, states in self._by_part(self.states_of(x, "x")):
            for name, value in part.moments(np.ascontiguousarray(states)).items():
                found[name][columns] = value
        return found

    def variance(self, mean):
        """Return that of each column by its own type, of the shape of `mean`."""
        out = np.empty(np.shape(mean))
        for part, columns, means in self._by_part(mean):
            out[:, columns] = part.variance(means)
        return out

    def field_of(self, mean):
        """Return fields whose means are `mean`."""
        return np.hstack([part.field_of(means) for part, _, means in self._by_part(mean)])

    def fitted_to(self, mean, variance, n_rows):
        """Return the layer whose parts are fitted to their columns."""
        mean, variance = np.asarray(mean), np.asarray(variance)
        return Mixed([
            part.fitted_to(mean[columns], variance[columns], n_rows)
            for columns, part in self.placed_parts
        ])  # fmt: skip

    def column_log_normalizers(self, field):
        """Return those of the parts."""
        return np.hstack([
            part.column_log_normalizers(np.asarray(field)[:, columns])
            for columns, part in self.placed_parts
        ])  # fmt: skip

    def inner_mean(self, mean, n_rows):
        """Return that of each column by its own type."""
        return np.concatenate([
            part.inner_mean(mean[columns], n_rows) for columns, part in self.placed_parts
        ])  # fmt: skip

    def components(self, found, mean, strength):
        """Return the layer of the parts' units, and the fields of all of them."""
        parts, fields = zip(*[
            part.components(found.of_columns(columns), mean[columns], strength)
            for columns, part in self.placed_parts
        ], strict=True)  # fmt: skip
        return Mixed(parts), np.vstack(fields)

    def scale_log_prior(self, units, n_components, mean, strength):
        """Return the sum of those of the parts."""
        placed = zip(self.placed_parts, units.parts, strict=True)
        return sum(
            part.scale_log_prior(other, n_components, mean[columns], strength)
            for (columns, part), other in placed
        )

    def pooled(self, layers):
        """Return the layer of the parts, each pooled over layers of this form."""
        by_part = zip(*[units.parts for units in layers], strict=True)
        return Mixed([part.pooled(own) for part, own in zip(self.parts, by_part, strict=True)])

    def value_scores(self, x, mean, deviation):
        """Return those of each column by its own type."""
        return np.hstack([
            part.value_scores(x[:, columns], mean[:, columns], deviation[:, columns])
            for columns, part in self.placed_parts
        ])  # fmt: skip

    def check(self, states, name="X"):
        """Raise RefusedValue unless every value is one that its part can take."""
        self._check_parts(states, lambda part, values: part.check(values, name))

    def check_with_holes(self, states, name="X"):
        """Raise RefusedValue as :meth:`check` does, but let NaN pass; see :class:`Units`."""
        self._check_parts(states, lambda part, values: part.check_with_holes(values, name))

    def _check_parts(self, states, check):
        for part, columns, values in self._by_part(states):
            try:
                check(part, values)
            except RefusedValue as error:
                raise error.in_columns_from(columns.start) from None

    def clipped(self, states):
        """Return checked states without rounding beyond the limits of each part."""
        found = None
        for part, columns, values in self._by_part(states):
            clipped = part.clipped(values)
            if clipped is not values:
                found = np.array(dense(states)) if found is None else found
                found[:, columns] = clipped
        return states if found is None else found

    def missing(self, states):
        """Return a bool mask of entries that say "missing", or None where there are none."""
        mask = None
        for part, columns, values in self._by_part(states):
            absent = part.missing(values)
            if absent is not None:
                mask = np.zeros(np.shape(states), np.bool_) if mask is None else mask
                mask[:, columns] = absent
        return mask

    def is_state(self, states):
        """Tell whether the values of every part are states."""
        return all(part.is_state(values) for part, _, values in self._by_part(states))
