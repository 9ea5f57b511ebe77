"""Pictures of the tour, one function each; each returns a figure of matplotlib."""


from deepgen import plots
from deepgen.demo.measures import lower_half
from deepgen.runtime.stream import child_seed

N_SAMPLES = 100


def filters_of(rbm):
    """Draw the weights of the first hidden units."""
    figure, ax = _figure(6.0, 6.3)
    plots.plot_filters(rbm, n=100, ax=ax).set_title("Weights of 100 hidden units", fontsize=10)
    return figure


def samples_of(machine, name, seed, n_sweeps):
    """Draw pixel means of chains after a number of sweeps.

    Parameters
    ----------
    machine : RBM or DBM
    name : str
        What the title calls it.
    seed, n_sweeps : int
    """
    figure, ax = _figure(6.0, 6.3)
    chains = machine.chains(N_SAMPLES, random_state=child_seed(seed, "chains"))
    plots.plot_samples(chains.run(n_sweeps, mean=True), ax=ax).set_title(
        f"{name}: pixel means, {n_sweeps:,} sweeps on from the training particles", fontsize=10
    )
    return figure


def reconstructions_of(rbm, X):
    """Draw rows, and what the hidden units make of them."""
    figure, ax = _figure(7.5, 2.0)
    rebuilt = rbm.inverse_transform(rbm.transform(X))
    rows = {"held out": X, "reconstructed": rebuilt}
    plots.plot_rows(rows, ax=ax).set_title(
        f"{X.shape[1]} pixels through {rbm.n_hidden} hidden units and back", fontsize=10
    )
    return figure


def completions_of(rbm, dbm, X, seed):
    """Draw rows without their lower half, completed by one chain and by several."""
    figure, ax = _figure(7.5, 4.4)
    missing, seed = lower_half(X), child_seed(seed, "completions")
    rows = {
        name: machine.impute(X, missing, n_chains=n, n_sweeps=500, random_state=seed)
        for name, machine, n in (
            ("RBM, 1 chain", rbm, 1), ("RBM, 20 chains", rbm, 20), ("DBM, 20 chains", dbm, 20),
        )
    }  # fmt: skip
    plots.plot_completions(X, ~missing, rows, ax=ax).set_title(
        "Lower half missing (blue), completed: pixel means of one chain, and of 20", fontsize=10
    )
    return figure


def codes_of(rebuilt, X, shown, n_code):
    """Draw rows rebuilt from a few numbers by an autoencoder and by PCA.

    Parameters
    ----------
    rebuilt : dict of str to ndarray
    X : ndarray of shape (n_rows, n_features)
    shown : list of int
        Rows that are drawn.
    n_code : int
    """
    figure, ax = _figure(7.5, 2.9)
    plots.plot_reconstructions(X, rebuilt, draw=shown, ax=ax).set_title(
        f"{X.shape[1]} grey values through {n_code} numbers and back; errors of all held out",
        fontsize=10,
    )
    return figure


def _figure(width, height):
    figure = plots.require_matplotlib("figure").Figure((width, height), layout="constrained")
    return figure, figure.subplots()
