"""A machine at many temperatures: sweeps of rows that each have their own, and log ratios.

At inverse temperature beta a machine has the natural parameters ``(1 - beta) base + beta own``. The
base is independent units: those given for the first layer, flat ones above it. Where the context
has temperatures of its own by row, c, they are ``c beta own``, without a base. Samplers that move
over temperatures share what is here (docs/math.md, "Tempering").
"""

import itertools
from dataclasses import dataclass, field

import numpy as np

from deepgen.checks import check_instance, shown
from deepgen.inference.gibbs import spread_particles, sweep, update_layer
from deepgen.inference.mean_field import field_from, send, sending_chain
from deepgen.layers.context import Context, with_trials
from deepgen.layers.passes import LayerContext, Outputs, Site, conditional_pass
from deepgen.layers.units import Units, lone_chain
from deepgen.models import Parameters
from deepgen.rows.states import dense
from deepgen.runtime.stream import START
from deepgen.runtime.work import Work

# Chains and sweeps whose mean is the base, where none is given.
BASE_CHAINS, BASE_SWEEPS = 100, 50
# The hottest rung of rows without a base: at 0 real-valued units would have no distribution.
COLDEST_FLAT = np.float32(0.05)


def own_base(model, site):
    """Return independent units like the first layer of a machine, at rates that it draws itself.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
    site : Site
        Its stream alone decides the draws, so that chains shared out have one base.

    Returns
    -------
    Units
        Of documents, whose rows have several lengths, the layer itself.
    """
    units = model.layers[0]
    if any(layer.takes_trials for layer in model.layers):
        return units
    stream = site.stream.child("base")
    chains = spread_particles(model, BASE_CHAINS, stream)
    chains = sweep(model, chains, BASE_SWEEPS, Site(stream.child("settle"), START))
    rows = chains[0].astype(np.float64)
    return units.fitted_to(rows.mean(axis=0), rows.var(axis=0), BASE_CHAINS / 5.0)


def base_arrays(sampler, model, site):
    """Return the natural parameters of a sampler's base, for :class:`Chains` to keep.

    Parameters
    ----------
    sampler : object
        With an attribute `base`: Units, or None for :func:`own_base`.
    model : BoltzmannMachine or Parameters
    site : Site

    Returns
    -------
    dict of str to ndarray of shape (n_visible,)
        "base bias", and "base precision" of units that have precisions.

    Raises
    ------
    ValueError
        If the base is not like the first layer.
    """
    base, visible = sampler.base, model.layers[0]
    if base is None:
        base = own_base(model, site)
    elif base.form != visible.form:
        raise ValueError(
            f"base must be like the first layer, {visible!r}, got {base!r}; make it with "
            "dg.base_rates(model, X)"
        )
    arrays = {"base bias": np.array(base.bias, np.float32)}
    if base.precision is not None:
        arrays["base precision"] = np.array(base.precision, np.float32)
    return arrays


def check_base(base):
    """Raise TypeError unless a sampler's base is Units or None."""
    if base is not None:
        check_instance(base, "base", Units, "None or Units such as dg.base_rates(model, X)")


def check_temperatures(betas, name="betas"):
    """Raise ValueError unless inverse temperatures fall from 1 to no less than 0."""
    good = len(betas) >= 2 and betas[0] == 1.0 and betas[-1] >= 0.0
    if not (good and all(a > b for a, b in itertools.pairwise(betas))):
        raise ValueError(
            f"{name} must be at least two numbers that fall from 1 to 0 or more, got "
            f"{shown(betas)}; dg.ParallelTempering(n_rungs=10) chooses them"
        )


def usual_temperatures(n_rungs):
    """Return inverse temperatures that fall from 1 to 0, as square roots of equal steps."""
    return np.sqrt(np.linspace(1.0, 0.0, n_rungs)).astype(np.float32)


@dataclass(frozen=True)
class Temperatures:
    """A machine at every temperature, around rows of chains.

    The layers of even number are kept, the odd ones are summed out of log ratios, but for those
    with held entries: their states stay in.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
    base : dict
        Of :func:`base_arrays`.
    context : Context
        With a row for each row of states; its temperatures multiply those of the rungs.
    work : Work
    """

    model: object
    base: dict
    context: Context
    work: Work
    _scratch: dict = field(default_factory=dict)
    _lone: dict = field(default_factory=dict)
    _senders: dict = field(default_factory=dict)

    @classmethod
    def around(cls, model, chains, context, work):
        """Return the machine around the rows of chains.

        Raises
        ------
        ValueError
            If a shape does not fit, or the context has a base.
        """
        states = chains.particles.states
        context = with_trials(model.layers, states, Context() if context is None else context)
        context.check(model.layers, len(chains))
        if context.base is not None:
            raise ValueError(
                "context must have no base for a sampler of temperatures, which has one itself; "
                "pass base to the sampler"
            )
        return cls(model, chains.further, context, work.reusing())

    def of_layer(self, l, beta):
        """Return the context of a layer at inverse temperatures by row."""
        bias, precision = self._base_of(l)
        return self.context.of_layer(l)._replace(
            beta=self._effective(beta), base_bias=bias, base_precision=precision
        )

    def _effective(self, beta):
        """Return the factors on the machine's parameters, float32 by row."""
        if self.context.beta is None:
            return beta
        return np.maximum(beta, COLDEST_FLAT) * self.context.beta

    def _base_of(self, l):
        """Return bias and precision of a layer at beta = 0; None for what is zero."""
        if self.context.beta is not None:
            return None, None
        if l == 0:
            return self.base["base bias"], self.base.get("base precision")
        return None, self.model.layers[l].precision

    def _own(self, l):
        """Return bias (with bias rows, where there are some) and precision of a layer."""
        bias, precision = bias_and_precision(self.model, l)
        if l in self.context.bias_scale:
            bias = self.context.bias_scale[l][:, None] * bias
        if l in self.context.bias_rows:
            bias = bias + self.context.bias_rows[l]
        return bias, precision

    def fields(self, states):
        """Return the fields of the odd layers given the even ones, at beta = 1.

        Parameters
        ----------
        states : list of ndarray of shape (n_rows, n_units)

        Returns
        -------
        dict of int to ndarray of shape (n_rows, n_units), float32
            In memory that the next call uses again: fresh pages cost as much as a small product.
        """
        for l in range(1, self.model.n_layers, 2):
            bias = self._own(l)[0]
            if l not in self._scratch:
                self._scratch[l] = np.empty((len(states[0]), bias.shape[-1]), np.float32)
                self._senders[l] = sending_chain(
                    self.model, l - 1, l, bias if bias.ndim == 1 else None
                )
            total = self._scratch[l]
            send(self._senders[l], True, states[l - 1], total, self.work)
            if bias.ndim > 1:
                total += bias
            if l + 1 < self.model.n_layers:
                total += field_from(self.model, l + 1, l, states[l + 1], self.work)
        return self._scratch

    def gain(self, states, fields, old, new):
        """Return ``log p*_new(x) - log p*_old(x)`` by row, the odd layers summed out.

        Of an even layer with states x the difference is
        ``(new - old) (x . (b - b_base) - x^2 . (p - p_base) / 2)``, with biases b and precisions p;
        of an odd one it is that of the log normalizers of its field at both temperatures.

        Parameters
        ----------
        states : list of ndarray of shape (n_rows, n_units)
        fields : dict
            Of :meth:`fields`.
        old, new : ndarray of shape (n_rows,), float32

        Returns
        -------
        ndarray of shape (n_rows,), float64
        """
        slope, total = np.zeros(len(old)), np.zeros(len(old))
        for l in range(0, self.model.n_layers, 2):
            x, own, base = states[l], self._own(l), self._base_of(l)
            bias, precision = own[0] if base[0] is None else own[0] - base[0], own[1]
            slope += row_dots(x, bias)
            if precision is not None:
                precision = precision if base[1] is None else precision - base[1]
                slope -= 0.5 * row_dots(x * x, precision)
        for l, of_layer in fields.items():
            if self.context.holds(l):
                slope += self._joint_slope(l, states[l], of_layer)
                continue
            outputs = Outputs(log_normalizer=total, beta_from=self._effective(old))
            self._lone_pass(l, of_layer, new, outputs)
        return total + slope * (self._effective(new).astype(np.float64) - self._effective(old))

    def _joint_slope(self, l, x, fields):
        """Return the derivative by beta of the log weight of states of an odd layer that stay."""
        slope = row_dots(x, fields)
        precision = self._own(l)[1]
        if precision is not None and self._base_of(l)[1] is None:
            slope -= 0.5 * row_dots(x * x, precision)
        return slope

    def _lone_pass(self, l, fields, beta, outputs, site=None):
        """Run the units of a layer alone on their field, which has the bias in it."""
        around = self.of_layer(l, beta)
        around = LayerContext(
            fields, around.held, around.beta, around.base_bias, around.base_precision,
            trials=around.trials,
        )  # fmt: skip
        if site is not None:  # draws of a layer are told apart by its number
            site = site._replace(stream=site.stream.child(f"layer {l}"))
        if l not in self._lone:
            self._lone[l] = lone_chain(self.model.layers[l])
        conditional_pass(self._lone[l], 0, [None], outputs, around, site, self.work)

    def draw_odd(self, states, fields, beta, site):
        """Draw the odd layers from their fields at inverse temperatures by row, in place."""
        for l, of_layer in fields.items():
            self._lone_pass(l, of_layer, beta, Outputs(sample=states[l]), site)

    def draw_even(self, states, beta, site):
        """Draw the even layers at inverse temperatures by row, in place."""
        for l in range(0, self.model.n_layers, 2):
            conditional_pass(
                self.model.chain, l, states, Outputs(sample=states[l]), self.of_layer(l, beta),
                site, self.work,
            )  # fmt: skip

    def sweep(self, states, beta, site):
        """Draw odd layers, then even ones, in place."""
        self.draw_odd(states, self.fields(states), beta, site)
        self.draw_even(states, beta, site)


def bias_and_precision(model, l):
    """Return these vectors of a layer as they are now, the second one None where it has none.

    Parameters
    ----------
    model : BoltzmannMachine or Parameters
    l : int
    """
    if isinstance(model, Parameters):
        return model.biases[l], model.precisions[l]
    return model.layers[l].bias, model.layers[l].precision


def row_dots(x, y):
    """Return the sums over columns of ``x y``, by row, float64.

    By einsum, which turns types in small buffers: a product of all rows would be fresh pages, which
    cost more than the sums. It reads each row by itself, so pieces have the bits of the whole.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_columns,) or (n_rows, n_columns)
    """
    return np.einsum("ij,j->i" if y.ndim == 1 else "ij,ij->i", x, y.astype(np.float64))


def own_states(model, particles):
    """Return copies of the states by layer, of the types that draws are written in."""
    return [
        np.array(dense(x), units.state_dtype, order="C")
        for units, x in zip(model.layers, particles.states, strict=True)
    ]


def repeated_context(context, n_rows):
    """Return a context with `n_rows` rows for each row, or None for None."""
    if context is None:
        return None
    n = next(
        (len(x) for part in (context.bias_rows, context.held, context.bias_scale, context.trials)
         for x in part.values()), None,
    )  # fmt: skip
    n = next((x.shape[0] for x in context.pattern.values()), n)
    if n is None:
        return context if context.beta is None else context.of_rows(
            np.repeat(np.arange(len(context.beta)), n_rows)
        )
    return context.of_rows(np.repeat(np.arange(n), n_rows))


def means_at_model(model, particles, context, work):
    """Return the means of the odd layers given the even ones, by layer, for learning."""
    return {
        l: update_layer(model, l, particles.states, context=context, mean=True, work=work)[0]
        for l in range(1, model.n_layers, 2)
    }
