"""Missing entries of rows, filled in by a belief network."""

import numpy as np

from deepgen.inference.completion import observed_states, summary_of_chains
from deepgen.inference.gibbs import update_layer
from deepgen.inference.recognition import Recognition
from deepgen.layers.context import Context
from deepgen.layers.passes import Site
from deepgen.models import check_belief_network
from deepgen.rows.states import as_states, dense
from deepgen.runtime.stream import IMPUTE, RECOGNIZE, Stream
from deepgen.runtime.time_limit import check_time
from deepgen.runtime.work import Work

# Share of the variables of the first hidden layer that every other offer draws anew: small changes
# are accepted more often than whole vectors, which move further (docs/decisions.md).
SHARE_OFFERED = 0.3


def impute_belief(
    model, X, missing, *, n_chains=20, n_sweeps=100, random_state=None, first_row=0, n_threads=None
):
    """Complete rows: chains over the hidden layers and the missing entries.

    A sweep offers new hidden layers, drawn by the recognition model from the row as it is now
    completed (every other time only a random share of the first one, the rest stays), accepts them
    by the ratio of the importance weights ``p*(v, x) / q(x | v)`` of the new and the old ones, and
    draws the missing entries downwards. No posterior of a belief network can be drawn exactly: its
    hidden units explain each other away, which the recognition model ignores. The weights correct
    for that (Metropolis-Hastings), so that the chain has the model's own conditional distribution;
    plain sweeps up and down, or with steps of the top machine in between, have none that is known.
    What remains approximate is the number of sweeps: the worse the recognition model, the more
    offers are refused. Where it is exact, none is.

    Parameters
    ----------
    model : BeliefNetwork
    X : array-like of shape (n_rows, n_visible)
        Values at missing entries are ignored.
    missing : bool array of shape (n_rows, n_visible)
    n_chains : int
        Independent chains a row.
    n_sweeps : int
        Sweeps of each chain.
    random_state : int, RandomState, Generator or None
    first_row : int
        Pieces completed with the right `first_row` equal the whole.
    n_threads : int or None

    Returns
    -------
    tuple of (draws, means, deviations)
        Last draw of the first chain; mean over chains of the conditional mean after the last
        sweep; and the standard deviation of the missing values, from the conditional means'
        spread over chains plus the conditional variance. float32, shape of X; observed entries
        are those of X.

    References
    ----------
    Tierney (1994), section 2.3.3; Hinton, Osindero & Teh (2006), section 7.
    """
    check_belief_network(model)
    stream = Stream.from_random_state(random_state)
    X = np.where(missing, 0, dense(as_states(X)))

    def chain(number):
        chains = _Completion(model, X, missing, stream.child(number), first_row, n_threads)
        for sweep in range(n_sweeps):
            chains.sweep(sweep)
            check_time(len(X))
        return chains.visible(n_sweeps, mean=True)

    return summary_of_chains(X, missing, model.visible, map(chain, range(n_chains)))


class _Completion:
    """One chain for each row; observed entries of its visible states are held.

    Parameters
    ----------
    model : BeliefNetwork
    X : ndarray of shape (n_rows, n_visible)
        Zeros at missing entries.
    missing : bool array of that shape
    stream : Stream
    first_row : int
    """

    def __init__(self, model, X, missing, stream, first_row, n_threads):
        self.model, self.stream, self.first_row = model, stream, first_row
        self._work, units = Work(n_threads=n_threads), model.visible
        self._recognition = Recognition(model, stream.child("up"), n_threads)
        absent = units.missing(X)  # groups of zeros: no evidence, and not to be completed
        missing = missing if absent is None else missing | absent
        self.context = Context(held={0: ~missing})
        observed = observed_states(units, X, stream, first_row)
        start = units.sample(np.zeros(X.shape) + units.bias, stream.child("v"), first_row=first_row)
        self.v = np.where(missing, start, observed).astype(units.state_dtype)
        self.hidden = None  # the lowest hidden layer
        self._rest = None  # terms of its log weight that do not depend on the visible layer

    def _offer(self, step):
        """Draw hidden layers for the rows as they are; accept them by their weights."""
        model, n_rows = self.model, len(self.v)
        if not model.layers:  # the posterior itself
            site = Site(self.stream.child("up").advanced(step), RECOGNIZE, self.first_row)
            states = [self.v, None]
            self.hidden = update_layer(model.top, 1, states, site=site, work=self._work)[1]
            return
        recognition = self._recognition
        stream = recognition.stream.advanced(step)
        terms = recognition.terms(self.v, ratios=True)
        offer = recognition.first_draws(terms.fields, stream, self.first_row)
        if self.hidden is not None and step % 2:
            offer = np.where(self._offered(step), offer, self.hidden)
        rest = recognition.weigh(offer, [stream], self.first_row)
        if self.hidden is None:
            self.hidden, self._rest = offer, rest
            return
        gain = rest - self._rest
        gain += recognition.first_correction(offer, terms.slopes)
        gain -= recognition.first_correction(self.hidden, terms.slopes)
        stream = self.stream.child("accept").advanced(step)
        uniform = stream.uniform(n_rows, 1, RECOGNIZE, first_row=self.first_row)
        accepted = np.log(uniform[:, 0].astype(np.float64)) < gain
        self.hidden[accepted], self._rest[accepted] = offer[accepted], rest[accepted]

    def _offered(self, step):
        """Return a mask of the units of the first hidden layer that are drawn anew.

        It is drawn without a look at their states, so that an offer is as probable as its reverse.
        """
        units = self.model.layers[0].upper
        stream = self.stream.child("share").advanced(step)
        uniform = stream.uniform(
            len(self.v), units.n_sites, RECOGNIZE, first_row=self.first_row
        )
        return np.repeat(uniform < SHARE_OFFERED, units.widths, axis=1)

    def visible(self, step, *, mean=False):
        """Offer hidden layers; return mean and draw of the visible layer given the hidden one."""
        self._offer(step)
        model = self.model
        machine = model.layers[0].downward if model.layers else model.top
        site = Site(self.stream.child("down").advanced(step), IMPUTE, self.first_row)
        return update_layer(
            machine, 0, [self.v, self.hidden], context=self.context, mean=mean, site=site,
            work=self._work,
        )  # fmt: skip

    def sweep(self, step):
        """Move all chains once."""
        self.v = self.visible(step)[1]
