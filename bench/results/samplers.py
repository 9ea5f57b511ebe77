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
    "Tight beside broad: 60 visible units and a hidden unit for each tight mode, whose fields are "
    "of 8 (the second one's of 4) where it is on, none where all are off; masses as they are "
    "named. All chains begin in the broad mode, the mass is that of the first tight one, without "
    "the first quarter of the sweeps. The ladder of models has shares (i / 8)^2 of the fields and "
    "the same masses all along, but where two masses of the lowest and of the sampled model are "
    "named; trajectory: with rungs by `dg.placed_rungs`, which is in the time.",
    "Two clusters, learned: 4,000 rows of 60 bits, half of them copies of one row whose bits turn "
    "over with probability .02, half coins; 6 hidden units, 40 epochs, whose models "
    "`dg.ModelLadder` has kept. The mass is that of rows within 15 bits of the one row, exact by "
    "enumeration in the first row; all chains begin at coins.",
    "`log Z`: `dg.ais` with 1,000 temperatures and 100 chains, `dg.log_partition_bracket`, "
    "`dg.log_partition_by_ladder` and `dg.ladder_bracket` as they come, seed 0, one thread; in "
    "brackets the ends less the exact value. Seeds 0 and 1. Picture: `chains.png`, ten chains on a "
    "machine of two modes of one width. Quick form: half of the sweeps of digits, 400 of the "
    "others in place of 1,000.",
]


def rows(store, quick):
    """Yield the rows of the table."""
    n_sweeps = 2_000 if quick else 4_000
    yield from (
        store.once(f"digits-{name}", lambda s=sampler: {"row": digits_row(s, n_sweeps)})["row"]
        for name, sampler in SAMPLERS_OF_DIGITS.items()
    )
    n_sweeps = 400 if quick else 1_000
    for machine, masses in MODES.items():
        names = (*SAMPLERS_OF_MODES, *ESTIMATES) if machine == "two modes" else OF_LADDERS
        yield from (
            store.once(
                f"{machine}-{name}".replace(" ", "-"),
                lambda m=machine, p=masses, n=name: {"row": modes_row(m, p, n, n_sweeps)},
            )["row"]
            for name in names
        )
    yield from (
        store.once(f"learned-{name}", lambda n=name: {"row": learned_row(n, n_sweeps)})["row"]
        for name in ("exact", "gibbs", "tempering", "trajectory", *ESTIMATES)
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


def modes_of(masses, share=1.0, n=60):
    """Return a machine of a broad mode and tight ones, each with a hidden unit of its own."""
    columns, biases = [], []
    for number, mass in enumerate(masses):
        field = share * (8.0, 4.0)[number] * np.where(np.arange(n) % (number + 2), 1.0, -1.0)
        columns.append(field)
        odds = np.log(mass / (1.0 - sum(masses)))
        biases.append(n * np.log(2.0) - np.logaddexp(0.0, field).sum() + odds)
    layers = [dg.Binary(bias=np.zeros(n)), dg.Binary(bias=biases)]
    return dg.BoltzmannMachine(layers, [np.stack(columns, axis=1)])


# Masses of the tight modes in the lowest model of the ladder, and in the one that is sampled.
MODES = {
    "two modes": ((0.5,), (0.5,)),
    "two modes, .2": ((0.2,), (0.2,)),
    "two modes, .8": ((0.8,), (0.8,)),
    "two modes, .5 to .2": ((0.5,), (0.2,)),
    "two modes, .5 to .8": ((0.5,), (0.8,)),
    "three modes, .3 and .3": ((0.3, 0.3), (0.3, 0.3)),
}
SAMPLERS_OF_MODES = {
    "gibbs": Gibbs(),
    "tempering": dg.ParallelTempering(10),
    "transitions": dg.TemperedTransitions(20),
    "coupled": dg.CoupledTempering(10),
    "trajectory": None,
}
ESTIMATES = ("annealing", "bracket", "ladder", "both")
OF_LADDERS = ("trajectory", "ladder")


def ladder_of_modes(masses):
    """Return models along which fields grow, with masses between the first and the last ones."""
    first, last = map(np.array, masses)
    return dg.TrajectoryTempering(
        [modes_of(first + s * (last - first), s**2) for s in np.linspace(0.0, 1.0, 9)[:-1]]
    )


def modes_row(machine, masses, name, n_sweeps):
    """Return the row of one sampler, or of an estimate of log Z, on modes of unequal width."""
    model, ladder = modes_of(masses[1]), ladder_of_modes(masses)
    if name in ESTIMATES:
        return estimate_row(machine, name, model, ladder)
    coins = np.random.default_rng(0).random((50, 60)) < 0.5
    return moved_row(
        machine, (model, SAMPLERS_OF_MODES[name] or ladder),
        (coins, np.zeros((50, len(masses[1])))), lambda particles: particles[1][:, 0], n_sweeps,
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
        "trajectory": ladder.sampler(),
        "tempering": dg.ParallelTempering(10, base=dg.base_rates(model, X)),
    }  # fmt: skip
    if name not in samplers:
        return estimate_row(machine, name, model, ladder.sampler())
    coins = np.random.default_rng(0).random((50, 60)) < 0.5
    return moved_row(
        machine, (model, samplers[name]), (coins, np.zeros((50, 6))), is_tight, n_sweeps
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


def estimate_row(machine, name, model, ladder):
    """Return the row of an estimate of log Z beside the exact value."""
    exact, options = dg.exact_log_partition(model).value, {"random_state": 0, "n_threads": 1}
    began = time.process_time()
    if name == "annealing":
        found = dg.ais(model, n_betas=1_000, **options)
    elif name == "bracket":
        found = dg.log_partition_bracket(model, exact=False, **options)
    elif name == "ladder":
        found = dg.log_partition_by_ladder(model, ladder, **options)
    else:
        found = joined(
            dg.log_partition_bracket(model, exact=False, **options),
            dg.log_partition_by_ladder(model, ladder, **options),
        )
    seconds = time.process_time() - began
    if name != "annealing":
        name = f"{found.method} [{found.lower - exact:+.2f}, {found.upper - exact:+.2f}]"
        name += " with the ladder" if found.reason and "ladder" not in found.method else ""
    return row(machine, name, "", "", f"{found.value - exact:+.3f}", {}, seconds)


def moved_row(machine, pair, states, statistic, n_sweeps):
    """Return the row of a sampler whose chains all begin in one mode."""
    model, sampler = pair
    site = Site(dg.Stream(0), SAMPLE)
    particles = dg.Particles([x.astype(np.uint8) for x in states])
    began = time.process_time()
    if isinstance(sampler, dg.TrajectoryTempering):
        sampler = dg.placed_rungs(model, sampler, random_state=0, n_threads=1)
    chains, mass, info = sampler.start(model, particles, site), [], None
    for number in range(n_sweeps):
        info = sampler.move(
            model, chains, site.of_sweep(number), n_sweeps=1, means=False, context=None,
            work=Work(n_threads=1),
        )  # fmt: skip
        mass.append(statistic(chains.at_model()).mean())
    seconds = time.process_time() - began
    return row(
        machine, name_of(sampler), "", f"{np.mean(mass[n_sweeps // 4 :]):.3f}", "",
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
