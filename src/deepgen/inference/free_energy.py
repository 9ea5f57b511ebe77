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
    if context is not None:
        check_instance(context, "context", Context, "a dg.Context or None")
    context, around = with_trials(model.layers, [x, None], context), [None, None]
    if context is not None:
        context.check(model.layers, x.shape[0])
        around = [context.of_layer(l) for l in range(2)]
    chain = model.chain
    out = layer_log_weight(chain, 0, x, around[0], n_threads=n_threads)
    if x.shape[0]:
        outputs, work = Outputs(log_normalizer=out), Work(n_threads=n_threads)
        conditional_pass(chain, 1, [x, None], outputs, around[1], work=work)
    return -out
