"""Which sampler finds the modes: effective draws a second, mass of a mode, errors of log Z."""

import time

import numpy as np

import deepgen as dg
from deepgen import plots
from deepgen.datasets import load_mnist
from deepgen.inference.samplers import Gibbs
from deepgen.layers.passes import Site
from deepgen.likelihood.ladder import joined
from deepgen.runtime.stream import SAMPLE
from deepgen.runtime.work import Work

TITLE = "Samplers: effective draws a second, and modes of unequal width"
COLUMNS = (
    "machine", "sampler", "effective draws a s", "mass of the mode", "error of log Z",
    "smallest rate", "round trips a chain", "s",
)  # fmt: skip
NOTES = [
    "Digits 0 and 1 at 14 x 14, 16 hidden units, exactly enumerated: 50 chains that begin far from "
    "each other, the statistic is whether a row lies nearer to the mean 0 than to the mean 1. "
    "Effective draws by the variance of the chains' means (`dg.mixing`), about 20 % either way; "
    "processor seconds of one thread. The base is `dg.base_rates(model, X)`.",
    "Tight beside broad: 60 visible units and one hidden unit; fields of 8 where it is on, none "
    "where it is off, each half of the mass. All chains begin in the broad mode. The ladder of "
    "models has fields of 0 to 8, equal masses all along.",
    "Two clusters, learned: 4,000 rows of 60 bits, half of them copies of one row whose bits turn "
    "over with probability .02, half coins; 6 hidden units, 40 epochs, whose models "
    "`dg.ModelLadder` has kept; trajectory: with rungs by `dg.placed_rungs`. The mass is that of "
    "rows within 15 bits of the one row, exact by enumeration in the first row; all chains begin "
    "at coins. With the ladder: as `dg.ladder_bracket` joins them, 1,000 sweeps.",
    "`log Z`: of ladders by the bridge between neighbours; of annealing with 1,000 temperatures "
    "and 100 chains. Seeds 0 and 1. Picture: `chains.png`, ten chains on a machine of two modes "
    "of one width. Quick form: half of the sweeps of digits, 400 of the others in place of 1,500.",
]


def rows(store, quick):
    """Yield the rows of the table."""
    n_sweeps = 2_000 if quick else 4_000
    yield from (
        store.once(f"digits-{name}", lambda s=sampler: {"row": digits_row(s, n_sweeps)})["row"]
        for name, sampler in SAMPLERS_OF_DIGITS.items()
    )
    yield from (
        store.once(
            f"modes-{name}", lambda n=name: {"row": modes_row(n, 400 if quick else 1_500)}
        )["row"]
        for name in (*SAMPLERS_OF_MODES, "annealing", "bracket")
    )
    yield from (
        store.once(
            f"learned-{name}", lambda n=name: {"row": learned_row(n, 400 if quick else 1_500)}
        )["row"]
        for name in ("exact", "gibbs", "tempering", "trajectory", "annealing", "bracket", "both")
    )
    store.once("picture", lambda: picture(store.folder / "chains.png"))


SAMPLERS_OF_DIGITS = {
    "exact": "exact",
    "gibbs": Gibbs(),
    "tempering-5": dg.ParallelTempering(5),
    "tempering-10": dg.ParallelTempering(10),
    "placed": None,
    "transitions": dg.TemperedTransitions(20),
    "coupled": dg.CoupledTempering(10),
}


def digits():
    """Return the 0/1 digits at 14 x 14 as bits, and which are zeros."""
    X, y = load_mnist()[:2]
    chosen = np.isin(y, (0, 1))
    small = X[chosen].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)
    return (small > 0.5 * small.max()).astype(np.uint8), y[chosen] == 0


def digits_row(sampler, n_sweeps):
    """Return the row of one sampler on the machine of digits 0 and 1."""
    X, zero = digits()
    model = dg.RBM(16, n_epochs=20, random_state=0, n_threads=1).fit(X).model_
    apart = X[zero].mean(axis=0) - X[~zero].mean(axis=0)
    middle = 0.5 * (X[zero].mean(axis=0) + X[~zero].mean(axis=0)) @ apart

    def is_zero(particles):
        return (particles[0] @ apart > middle).astype(np.float64)

    base = dg.base_rates(model, X)
    if sampler == "exact":
        mass = is_zero(exact_draws(model, 20_000)).mean()
        return row("digits 0, 1", "exact", "", f"{mass:.3f}", "", {}, 0.0)
    if sampler is None:
        sampler = dg.placed_rungs(model, dg.ParallelTempering(10, base=base), random_state=0)
    elif not isinstance(sampler, Gibbs):
        sampler = type(sampler)(sampler.n_rungs, base=base)
    began = time.process_time()
    found = dg.mixing(
        model, sampler, statistic=is_zero, n_sweeps=n_sweeps, random_state=1, n_threads=1
    )
    seconds = time.process_time() - began
    return row(
        "digits 0, 1", name_of(sampler), f"{found.n_effective / seconds:.0f}", f"{found.mean:.3f}",
        "", found.diagnostics, seconds,
    )  # fmt: skip


def two_modes(share=1.0, tightness=8.0, n=60):
    """Return a machine of a broad and a tight mode of the same mass."""
    field = share * tightness * np.where(np.arange(n) % 2, 1.0, -1.0)
    bias = n * np.log(2.0) - np.logaddexp(0.0, field).sum()
    layers = [dg.Binary(bias=np.zeros(n)), dg.Binary(bias=[bias])]
    return dg.BoltzmannMachine(layers, [field[:, None]])


SAMPLERS_OF_MODES = {
    "gibbs": Gibbs(),
    "tempering": dg.ParallelTempering(10),
    "transitions": dg.TemperedTransitions(20),
    "coupled": dg.CoupledTempering(10),
    "trajectory": dg.TrajectoryTempering(
        [two_modes(share) for share in np.linspace(0.0, 1.0, 9)[:-1] ** 2]
    ),
}


def modes_row(name, n_sweeps):
    """Return the row of one sampler, or of annealing, on the two modes."""
    model = two_modes()
    if name not in SAMPLERS_OF_MODES:
        return estimate_row("two modes", name, model)
    coins = np.random.default_rng(0).random((50, 60)) < 0.5
    return moved_row(
        "two modes", name, (model, SAMPLERS_OF_MODES[name]), (coins, np.zeros((50, 1))),
        lambda particles: particles[1][:, 0], n_sweeps,
    )  # fmt: skip


def learned_row(name, n_sweeps):
    """Return the row of one sampler, or of annealing, on a machine that learned two clusters."""
    X, centre = clusters()
    ladder = dg.ModelLadder(12)
    model = dg.RBM(
        6, n_epochs=40, random_state=0, callbacks=[ladder], n_threads=1
    ).fit(X).model_  # fmt: skip

    def is_tight(particles):
        return (particles[0] != centre).sum(axis=1) < 15

    machine = "two clusters, learned"
    if name == "exact":
        mass = is_tight(exact_draws(model, 100_000)).mean()
        return row(machine, "exact", "", f"{mass:.3f}", "", {}, 0.0)
    samplers = {
        "gibbs": Gibbs(),
        "trajectory": dg.placed_rungs(model, ladder.sampler(), random_state=0, n_threads=1),
        "tempering": dg.ParallelTempering(10, base=dg.base_rates(model, X)),
    }  # fmt: skip
    if name not in samplers:
        return estimate_row(machine, name, model, ladder.sampler())
    coins = np.random.default_rng(0).random((50, 60)) < 0.5
    return moved_row(
        machine, name, (model, samplers[name]), (coins, np.zeros((50, 6))), is_tight, n_sweeps
    )


def clusters(n=2_000, n_columns=60):
    """Return rows of a tight and of a broad cluster of one size, and the middle of the first."""
    rng = np.random.default_rng(0)
    centre = rng.random(n_columns) < 0.5
    tight = centre ^ (rng.random((n, n_columns)) < 0.02)
    broad = rng.random((n, n_columns)) < 0.5
    return rng.permutation(np.concatenate([tight, broad]).astype(np.uint8)), centre


def exact_draws(model, n):
    """Return independent draws of a machine with few hidden units, by enumeration of these."""
    rng, n_hidden = np.random.default_rng(1), model.layers[1].size
    h = (np.arange(2**n_hidden)[:, None] >> np.arange(n_hidden)) & 1
    fields = model.visible.bias + h @ model.weights[0].T.astype(np.float64)
    log_p = h @ model.layers[1].bias + np.logaddexp(0.0, fields).sum(axis=1)
    p = np.exp(log_p - log_p.max())
    chosen = rng.choice(len(h), n, p=p / p.sum())
    v = rng.random((n, model.visible.size)) < 1.0 / (1.0 + np.exp(-fields[chosen]))
    return dg.Particles([v.astype(np.uint8), h[chosen].astype(np.uint8)])


def estimate_row(machine, name, model, ladder=None):
    """Return the row of an estimate of log Z beside the exact value."""
    exact = dg.exact_log_partition(model).value
    began = time.process_time()
    if name == "annealing":
        found = dg.ais(model, n_betas=1_000, random_state=0, n_threads=1)
    elif name == "bracket":
        found = dg.log_partition_bracket(model, exact=False, random_state=0, n_threads=1)
    else:
        found = joined(
            dg.log_partition_bracket(model, exact=False, random_state=0, n_threads=1),
            dg.log_partition_by_ladder(
                model, ladder, n_sweeps=1_000, random_state=0, n_threads=1
            ),
        )  # fmt: skip
    seconds = time.process_time() - began
    if name != "annealing":
        name = f"{found.method} [{found.lower - exact:+.2f}, {found.upper - exact:+.2f}]"
        name += " with the ladder" if found.reason else ""
    return row(machine, name, "", "", f"{found.value - exact:+.3f}", {}, seconds)


def moved_row(machine, name, pair, states, statistic, n_sweeps):
    """Return the row of a sampler whose chains all begin in one mode."""
    model, sampler = pair
    site = Site(dg.Stream(0), SAMPLE)
    particles = dg.Particles([x.astype(np.uint8) for x in states])
    began = time.process_time()
    chains, mass, info = sampler.start(model, particles, site), [], None
    for number in range(n_sweeps):
        info = sampler.move(
            model, chains, site.of_sweep(number), n_sweeps=1, means=False, context=None,
            work=Work(n_threads=1),
        )  # fmt: skip
        mass.append(statistic(chains.at_model()).mean())
    seconds, error = time.process_time() - began, ""
    if name == "trajectory":
        exact = dg.exact_log_partition(model).value
        found = dg.log_partition_by_ladder(
            model, sampler, n_sweeps=n_sweeps, random_state=0, n_threads=1
        )
        error = f"{found.value - exact:+.3f}"
    return row(
        machine, name_of(sampler), "", f"{np.mean(mass[n_sweeps // 4 :]):.3f}", error,
        info.diagnostics, seconds,
    )  # fmt: skip


def picture(path):
    """Draw ten chains of Gibbs sampling and of parallel tempering, which start far apart."""
    model = equal_modes()
    figure = plots.require_matplotlib("figure").Figure((7.0, 3.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, sampler in ((upper, Gibbs()), (lower, dg.ParallelTempering(6))):
        found = dg.mixing(model, sampler, n_chains=10, n_sweeps=400, random_state=0)
        axes.plot(found.values, linewidth=0.8)
        axes.set_title(f"{name_of(sampler)}: {found.n_effective:.0f} effective draws")
        axes.set_ylabel("projection")
    lower.set_xlabel("sweep")
    figure.savefig(path, dpi=100)
    return {}


def equal_modes(n=20, strength=4.0):
    """Return a machine of two modes of one width, each of half the mass."""
    field = strength * np.where(np.arange(n) % 2, 1.0, -1.0)
    return dg.BoltzmannMachine([dg.Binary(bias=-field / 2), dg.Binary(1)], [field[:, None]])


def name_of(sampler):
    """Return a sampler in a few words."""
    rungs = "" if isinstance(sampler, Gibbs) else f", {sampler.n_rungs} rungs"
    return type(sampler).__name__ + rungs


def row(machine, name, draws, mass, error, diagnostics, seconds):
    """Return one row of the table."""
    rate = diagnostics.get("swap_rate", diagnostics.get("acceptance"))
    trips = diagnostics.get("round_trips")
    return (
        machine, name, draws, mass, error, "" if rate is None else f"{np.min(rate):.2f}",
        "" if trips is None else f"{np.mean(trips):.1f}", f"{seconds:.1f}",
    )  # fmt: skip
