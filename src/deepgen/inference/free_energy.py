"""Free energies: a layer of hidden units summed out in closed form."""

from deepgen.checks import check_instance
from deepgen.layers.context import Context, with_trials
from deepgen.layers.passes import Outputs, conditional_pass, layer_log_weight
from deepgen.models import check_model
from deepgen.runtime.work import Work


def free_energy(model, X, *, context=None, n_threads=None):
    """Compute the free energy of rows of the first layer of a two-layer model.

    ``F(v) = -log sum_h exp(-energy(v, h))``: low for likely rows; ``p(v) = exp(-F(v)) / Z``.

    Parameters
    ----------
    model : BoltzmannMachine
        Two layers.
    X : array-like or sparse matrix of shape (n_samples, n_visible)
    context : Context or None

    Returns
    -------
    ndarray of shape (n_samples,), float64

    Raises
    ------
    ValueError
        If the model has more than two layers, or a shape or a value of X does not fit.
    """
    check_model(model, 2)
    x = model.layers[0].states_of(X)
    context = with_trials(model.layers, [x, None], Context() if context is None else context)
    check_instance(context, "context", Context, "a dg.Context or None")
    context.check(model.layers, x.shape[0])
    out = layer_log_weight(model.chain, 0, x, context.of_layer(0), n_threads=n_threads)
    if x.shape[0]:
        outputs, around = Outputs(log_normalizer=out), context.of_layer(1)
        work = Work(n_threads=n_threads)
        conditional_pass(model.chain, 1, [x, None], outputs, around, work=work)
    return -out
