"""What a fitted estimator around a deep Boltzmann machine answers."""

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from deepgen.checks import check_integer, shown
from deepgen.estimators.common import density
from deepgen.estimators.common.documents import DeepDocuments
from deepgen.estimators.common.labels import one_hot, split_labels
from deepgen.estimators.common.validation import by_pieces, rows_to_read
from deepgen.inference.factorial import BOUND_FIXED_POINT
from deepgen.inference.gibbs import layer_field
from deepgen.inference.mean_field import infer
from deepgen.inference.tap import check_layers_of_tap, tap, tap_log_likelihood
from deepgen.likelihood import importance_weighted_bound, variational_bound
from deepgen.runtime.work import Work

# How hidden layers are inferred, by the name that users know it by.
INFERENCES = ("mean_field", "tap")


def check_inference(inference):
    """Raise ValueError unless `inference` is the name of one."""
    if not isinstance(inference, str) or inference not in INFERENCES:
        expected = " or ".join(repr(known) for known in INFERENCES)
        raise ValueError(f"inference must be {expected}, got {shown(inference)}")


def has_label_units(estimator):
    """Tell whether a fitted estimator's model has label units; before `fit`: whether it will."""
    model = getattr(estimator, "model_", None)
    return bool(estimator.label_units) if model is None else len(model.observed) == 2


def _has_labels(estimator):
    if not has_label_units(estimator):
        raise AttributeError(
            f"this {type(estimator).__name__} has no label units; make it with label_units=True"
        )
    return True


class DeepBoltzmannEstimator(DeepDocuments, density.MachineEstimator):
    """Mix-in around `model_`, a BoltzmannMachine of any depth: features, likelihoods, classes.

    With label units, ``classes_`` names the units of the uppermost layer.
    """

    def posterior(self, X, *, inference="mean_field"):
        """Return the factorial posterior of the hidden layers: their means.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            NaN where a value is missing: the posterior is that given the others; so in `transform`
            and the predictions.
        inference : {"mean_field", "tap"}, default "mean_field"
            ``"tap"``: the next order, nearer to the true means (:func:`deepgen.tap`); of binary
            hidden layers, without label units, and whole rows.

        Returns
        -------
        list of ndarray of shape (n_samples, n_units), float32
            Means by layer, the first hidden one first; labels, where there are any, last.
        """
        inferred = self._way_of(inference)
        X, sizes = rows_to_read(self, X), [layer.size for layer in self.model_.layers[1:]]
        together = by_pieces(
            X, self.model_.visible, lambda v: np.concatenate(inferred(v)[1:], axis=1),
            holes=inference == "mean_field",
        )  # fmt: skip
        return [np.ascontiguousarray(x) for x in np.split(together, np.cumsum(sizes)[:-1], axis=1)]

    def transform(self, X, *, quantity="mean", inference="mean_field"):
        """Return the mean-field means of the uppermost hidden layer, or the fields behind them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        quantity : {"mean", "field"}, default "mean"
            ``"field"``: the total input ``b + W^T x + U y`` of the layer at the fixed point, `x`
            the means of the layer below and `y` those of the label units, if any. Means are its
            logistic, exactly where the layer's number (from 1) is even, and to the tolerance of
            mean field, 1e-4, where it is odd: a sweep ends with the even layers. See
            :meth:`deepgen.RBM.transform`.
        inference : {"mean_field", "tap"}, default "mean_field"
            See :meth:`posterior`. The field at TAP means leaves their reaction out.

        Returns
        -------
        ndarray of shape (n_samples, n_hidden[-1]), float32
        """
        density.check_quantity(quantity)
        inferred = self._way_of(inference)
        X, place = rows_to_read(self, X), self._top_hidden

        def of_top(v):
            means = inferred(v)
            if quantity == "field":
                work = Work(n_threads=self.n_threads)
                return layer_field(self.model_, place, means, work=work)
            return means[place]

        return by_pieces(X, self.model_.visible, of_top, holes=inference == "mean_field")

    def _way_of(self, inference):
        """Return the function from rows to means of all layers, by the name of the inference."""
        check_is_fitted(self)
        check_inference(inference)
        if inference == "mean_field":
            return self._means
        return lambda v: tap(self.model_, v, n_threads=self.n_threads).means

    def _means(self, v):
        return infer(self.model_, v, BOUND_FIXED_POINT, work=Work(n_threads=self.n_threads))

    @property
    def _top_hidden(self):
        return self.model_.n_layers - (2 if has_label_units(self) else 1)

    def sample(
        self, n_samples=1, *, y=None, n_sweeps=1000, random_state=None, first_row=0, sampler=None,
        n_words=None,
    ):  # fmt: skip
        """Draw rows, each from a Markov chain of its own; of a class, where labels are given.

        Parameters
        ----------
        n_samples : int
        y : label, array-like of shape (n_samples,), or None
            With label units: the class of all rows, or of each; its unit is held while the chains
            move. Rows whose label is `unlabelled`, and all rows where `y` is None, have their
            labels drawn too. Chains start as without labels: give them some hundred sweeps.
        n_sweeps, random_state, first_row, sampler, n_words
            See :meth:`deepgen.RBM.sample`. A sampler must be able to hold units where `y` is given.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            See :meth:`deepgen.RBM.sample`.

        Raises
        ------
        ValueError
            If `y` is given to a model without label units, has another length, or holds what is
            no class of the model (``classes_``).
        """
        check_is_fitted(self)
        density.check_sampling(n_samples, n_sweeps, first_row)
        return self._samples(
            n_samples, n_sweeps, labels=self._labels_to_hold(y, n_samples),
            random_state=random_state, first_row=first_row, sampler=sampler, n_words=n_words,
        )  # fmt: skip

    def chains(
        self, n_chains=1, *, y=None, random_state=None, first_row=0, sampler=None, n_words=None
    ):
        """Return chains that go on: ``run`` moves them, and gives the rows that they have then.

        Parameters
        ----------
        n_chains : int
        y, random_state, first_row, sampler, n_words
            See :meth:`sample`, which is one run of such chains.

        Returns
        -------
        RowChains
        """
        check_is_fitted(self)
        density.check_sampling(n_chains, 0, first_row)
        labels = self._labels_to_hold(y, n_chains)
        return self._row_chains(n_chains, random_state, first_row, sampler, n_words, labels)

    def _labels_to_hold(self, y, n_rows):
        """Return one-hot rows of labels, all zero where there is none; None where `y` is None."""
        if y is None:
            return None
        if not has_label_units(self):
            raise ValueError(
                f"y must be None where the model has no label units, got {shown(y)}; make the "
                f"{type(self).__name__} with label_units=True"
            )
        y = [y] * n_rows if np.ndim(y) == 0 else y
        return one_hot(*split_labels(y, n_rows, self.unlabelled), self.classes_)

    def score_samples(self, X, *, n_draws=100, inference="mean_field"):
        """Estimate log p(v) by row in nats, low on average, with log Z at the bracket's value.

        With importance weights of draws from the mean-field posterior
        (:func:`deepgen.importance_weighted_bound`): low on average, less so with more draws. It is
        no bound of a single row, which can lie above its log p(v); :meth:`bound` is one.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            States. Grey values give no log-likelihood and a warning: binarize them.
        n_draws : int, default 100
            Draws of the hidden layers for each row; equal rows have equal draws. TAP has none.
        inference : {"mean_field", "tap"}, default "mean_field"
            ``"tap"``: the TAP estimate instead (:func:`deepgen.tap_log_likelihood`), which is
            fast and near, and neither a bound nor low on average: weights of 3 and more between
            hidden layers can put it nats too high. Of binary hidden layers, without label units.

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        check_is_fitted(self)
        check_integer(n_draws, "n_draws")
        check_inference(inference)
        if inference == "tap":
            check_layers_of_tap(self.model_, "inference='mean_field'")
            return self._with_log_z(tap_log_likelihood, X)
        return self._with_log_z(
            importance_weighted_bound, X, n_draws=n_draws, random_state=self._fitted.score_seed
        )

    def score(self, X, y=None, *, inference="mean_field"):
        """Return the mean of :meth:`score_samples` with log Z at the upper end of its bracket.

        A search by `score` never prefers a model because annealing failed on it. With
        ``inference="tap"`` it could prefer one because TAP did.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : ignored
        inference : {"mean_field", "tap"}, default "mean_field"
            See :meth:`score_samples`. A search takes it as
            ``scoring=lambda dbm, X, y=None: dbm.score(X, inference="tap")``.

        Returns
        -------
        float
            Nats a row.
        """
        return self._mean_at_upper_end(self.score_samples(X, inference=inference), X)

    def bound(self, X):
        """Return the variational lower bound of log p(v) by row, with log Z as above.

        Parameters
        ----------
        X
            See :meth:`score_samples`.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            See :func:`deepgen.variational_bound`.
        """
        return self._with_log_z(variational_bound, X)

    def _with_log_z(self, function, X, **settings):
        X = rows_to_read(self, X)
        density.check_whole_rows(X, self.model_.visible)  # before the work that log Z is
        return function(
            self.model_, X, log_partition=self._log_z(X)[0], n_threads=self.n_threads, **settings
        )

    @available_if(_has_labels)
    def predict_proba(self, X):
        """Return the probability of each class: the mean-field means of the label units.

        Mean field leaves dependences out, so probabilities are nearer to 0 and 1 than those of the
        model; the order of the classes is what it is good for.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float32
        """
        X = rows_to_read(self, X)
        return by_pieces(X, self.model_.visible, lambda v: self._means(v)[-1], holes=True)

    @available_if(_has_labels)
    def predict(self, X):
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    @property
    def _n_features_out(self):
        return self.model_.layers[self._top_hidden].size
