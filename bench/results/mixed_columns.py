"""A table with categories and real columns: each column its own units, or one-hot binary ones."""

import numpy as np
import pandas as pd

import deepgen as dg
from bench.results import report

TITLE = "Log-likelihood of a table of categorical, binary and real columns"
COLUMNS = (
    "hidden units", "by column, train", "by column, test", "one-hot, train", "one-hot, test",
    "s to train, by column", "one-hot",
)  # fmt: skip
NOTES = [
    "Nats a row, 2,000 rows to learn from and 2,000 held out, mean over three seeds of training "
    "(standard deviation), log Z exact or at the value of its bracket. The table is like that of "
    "the mushrooms: 20 columns of 2 to 7 categories, 2 of bools and 3 real ones, drawn from a "
    "planted mixture of 12 kinds, whose own log-likelihood of the held-out rows is in the last "
    "line. By column: `RBM(visible='auto')` on the data frame. One-hot: the same real columns, "
    "and each category a binary unit of its own, which spends probability on rows with no "
    "category or with two. Independent: every column by itself. Both with the library's defaults.",
]
N_ROWS, N_KINDS, SEEDS = 2_000, 12, range(3)
N_CATEGORIES = [2, 3, 4, 5, 6, 7] * 3 + [2, 4]


class Planted:
    """The mixture that the table is drawn from."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.categories = [rng.dirichlet(np.full(k, 0.4), N_KINDS) for k in N_CATEGORIES]
        self.bools = rng.random((2, N_KINDS))
        self.centres = rng.normal(0.0, 1.5, (N_KINDS, 3))
        self.deviation = 0.6

    def draw(self, n_rows, seed):
        """Return a data frame of rows, and their mean log-likelihood."""
        rng = np.random.default_rng(seed)
        kind = rng.integers(0, N_KINDS, n_rows)
        columns, log_p = {}, np.full((n_rows, N_KINDS), -np.log(N_KINDS))
        for number, table in enumerate(self.categories):
            codes = (rng.random(n_rows)[:, None] > table[kind].cumsum(axis=1)).sum(axis=1)
            codes = np.minimum(codes, table.shape[1] - 1)
            names = [f"{letter}" for letter in "abcdefg"[: table.shape[1]]]
            columns[f"category {number}"] = pd.Categorical.from_codes(codes, names)
            log_p += np.log(table[:, codes]).T
        for number, p in enumerate(self.bools):
            values = rng.random(n_rows) < p[kind]
            columns[f"bool {number}"] = values
            log_p += np.log(np.where(values[:, None], p, 1.0 - p))
        real = self.centres[kind] + self.deviation * rng.normal(size=(n_rows, 3))
        for number in range(3):
            columns[f"real {number}"] = real[:, number]
        away = (real[:, None] - self.centres) / self.deviation
        log_p += (-0.5 * away**2 - np.log(self.deviation * np.sqrt(2.0 * np.pi))).sum(axis=2)
        return pd.DataFrame(columns), float(np.logaddexp.reduce(log_p, axis=1).mean())


def one_hot(frame):
    """Return each category as a column of 0 and 1, the other columns behind them."""
    return pd.get_dummies(frame, columns=[n for n in frame if n.startswith("category")])


def rows(store, quick):
    """Yield the rows of the table."""
    planted = Planted()
    train, _ = planted.draw(N_ROWS, 1)
    test, best = planted.draw(N_ROWS, 2)
    data = {"by column": (train, test), "one-hot": (one_hot(train), one_hot(test))}
    n_epochs = 20 if quick else None
    independent = {}
    for name, (learned, held_out) in data.items():
        rbm = dg.RBM(1, visible="auto", n_epochs=1, learning_rate=1e-12, random_state=0)
        rbm.fit(learned)
        independent[name] = (f"{rbm.score(learned):.2f}", f"{rbm.score(held_out):.2f}")
    yield ("independent", *independent["by column"], *independent["one-hot"], "", "")
    for n_hidden in (16, 64, 256):
        found = {
            name: [one(store, name, n_hidden, each, n_epochs, seed) for seed in SEEDS]
            for name, each in data.items()
        }
        cells = [report.spread([run[part] for run in runs])
                 for runs in found.values() for part in ("train", "test")]  # fmt: skip
        seconds = [f"{np.median([run['seconds'] for run in runs]):.0f}" for runs in found.values()]
        yield (n_hidden, *cells, *seconds)
    yield ("planted mixture", "", f"{best:.2f}", "", "", "", "")


def one(store, name, n_hidden, data, n_epochs, seed):
    """Return log-likelihoods and seconds of one run."""
    key = f"{name.replace(' ', '-')}-{n_hidden}-{seed}"
    learned, held_out = data
    rbm, seconds = store.model(
        key,
        lambda: dg.RBM(n_hidden, visible="auto", n_epochs=n_epochs, random_state=seed).fit(learned),
    )
    found = store.once(
        f"{key}-likelihood", lambda: {"train": rbm.score(learned), "test": rbm.score(held_out)}
    )
    return {"train": found["train"], "test": found["test"], "seconds": seconds}
