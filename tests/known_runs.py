"""Small runs of every estimator whose results are known to the last bit.

``python tests/known_runs.py`` prints the digests of all runs; ``--write`` puts them into
``tests/data/known_runs.json``, and a model file and checkpoints of each kind beside it. They are
written anew only where a change of the bits is meant, and the changelog says so: users' seeds
give other models then.

What a digest covers: parameters, draws, means by our own kernels, particles, and the place in the
run. Scores and what scipy's minimizers find are left out: their last bits are the C library's.
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
from conftest import Batches
from safetensors.numpy import load_file
from scipy import sparse
from stops import Stop

import deepgen as dg

DATA = Path(__file__).parent / "data"
DIGESTS = DATA / "known_runs.json"
N_ROWS, N_COLUMNS = 90, 12
COMMON = {"n_epochs": 3, "batch_size": 20, "random_state": 3, "n_threads": 1}

_RNG = np.random.default_rng(11)
BITS = (
    _RNG.random((N_ROWS, N_COLUMNS)) < np.where(np.arange(N_ROWS)[:, None] % 2, 0.75, 0.2)
).astype(np.uint8)
GREY = _RNG.integers(0, 256, (N_ROWS, N_COLUMNS)).astype(np.float32) / 256
REAL = (_RNG.integers(-512, 512, (N_ROWS, N_COLUMNS)) / 256).astype(np.float32)
CATEGORIES = np.eye(4, 3, dtype=np.uint8)[_RNG.integers(0, 4, (N_ROWS, 4))].reshape(N_ROWS, 12)
LABELS = _RNG.integers(0, 3, N_ROWS)
FEW_LABELS = np.where(np.arange(N_ROWS) % 3, -1, LABELS)
TARGETS = (BITS[:, :6].sum(axis=1) - 0.5 * BITS[:, 6:].sum(axis=1)).astype(np.float64)
_THERE = _RNG.random((230, N_COLUMNS)) < 0.4  # more users than an update reads
RATINGS = sparse.csr_array(np.where(_THERE, _RNG.integers(1, 6, _THERE.shape), 0).astype(float))
_THEME = np.arange(N_ROWS)[:, None] % 3 == np.arange(N_COLUMNS) % 3
COUNTS = (_RNG.random((N_ROWS, N_COLUMNS)) * (1.5 + 2.0 * _THEME)).astype(np.int64)
SEQUENCES = np.split(BITS, [13, 40, 44])
for _array in (COUNTS, BITS, GREY, REAL, CATEGORIES, LABELS, FEW_LABELS, TARGETS):
    _array.flags.writeable = False


def _machine(visible=None):
    """A trained machine of two hidden layers, for what starts from one."""
    return dg.DBM((6, 4), visible=visible or "binary", **COMMON).fit(BITS).model_


def _streamed(estimator, X=BITS, y=None, **first):
    """An estimator that has read rows in calls of uneven lengths."""
    for start, stop in ((0, 7), (7, 30), (30, 31), (31, 90)):
        labels = [] if y is None else [y[start:stop]]
        estimator.partial_fit(X[start:stop], *labels, **(first if start == 0 else {}))
    return estimator


def _rbm(X=BITS, **settings):
    return dg.RBM(7, **{**COMMON, **settings}).fit(X)


def _dbn(X=BITS, **settings):
    return dg.DBN((7, 12), **{**COMMON, **settings}).fit(X)


def _dbm(X=BITS, y=None, **settings):
    return dg.DBM((7, 5), **{**COMMON, **settings}).fit(X, y)


def _topics(**settings):
    return dg.ReplicatedSoftmax(5, **{**COMMON, **settings})


FALLING = {"learning_rate": dg.Linear(0.02, 0.0)}


def _ratings(**settings):
    return dg.RatingsRBM(7, n_epochs=3, random_state=3, n_threads=1, **settings)


def _temporal(**settings):
    return dg.TemporalRBM(7, n_recurrent=5, **{**COMMON, "batch_size": 2, **settings})


def _classifier(y=LABELS, **settings):
    return dg.DeepClassifier((7, 5), **{**COMMON, **settings}).fit(GREY, y)


ADAM = {"optimizer": dg.Adam(averaging=0.5), "learning_rate": dg.Linear(0.02, 0.0)}
GREEDY = dg.Pretraining(2, batch_size=30)

RUNS = {
    "rbm": lambda: _rbm(),
    "rbm cd momentum": lambda: _rbm(rule=dg.CD(2), optimizer=dg.SGD(momentum=0.7, averaging=0.6)),
    "rbm adam": lambda: _rbm(**ADAM),
    "rbm sparsity": lambda: _rbm(rule=dg.CD(sparsity=dg.Sparsity(0.1))),
    "rbm not centred": lambda: _rbm(rule=dg.PCD(k=2, n_particles=13, centring=False)),
    "rbm binarize": lambda: _rbm(GREY, binarize=True),
    "rbm grey csr": lambda: _rbm(sparse.csr_array(GREY)),
    "rbm batches": lambda: _rbm(Batches(BITS[:33], BITS[33:34], BITS[34:])),
    "rbm packed": lambda: _rbm(dg.PackedBits.pack(BITS)),
    "rbm softmax": lambda: _rbm(CATEGORIES, visible=dg.Softmax(3), rule="cd"),
    "rbm gaussian": lambda: _rbm(REAL, visible=dg.Gaussian(learn_precision=False)),
    "rbm gaussian hidden": lambda: _rbm(hidden="gaussian", learning_rate=0.01),
    "rbm stream": lambda: _streamed(dg.RBM(7, **COMMON)),
    "rbm stream after fit": lambda: _streamed(_rbm()),
    "dbn": lambda: _dbn(),
    "dbn means": lambda: _dbn(GREY, features="means", rule="cd"),
    "dbn transposed": lambda: _dbn(transposed=True),
    "dbn by layer": lambda: _dbn(
        rule=("cd", dg.PCD(n_particles=9)), n_epochs=(1, 2), optimizer=(None, dg.Adam())
    ),
    "dbn refined": lambda: _dbn().refine(BITS, 2),
    "dbn stream": lambda: _streamed(dg.DBN((7, 5), **COMMON)),
    "dbn stream after fit": lambda: _streamed(_dbn()),
    "dbm": lambda: _dbm(),
    "dbm without greedy start": lambda: _dbm(pretrained=None),
    "dbm settings": lambda: _dbm(GREY, pretrained=GREEDY, binarize=True),
    "dbm tap": lambda: _dbm(rule=dg.TAPPCD(), learning_rate=2.0),
    "dbm labels": lambda: _dbm(y=FEW_LABELS, label_units=True, unlabelled=-1),
    "dbm from model": lambda: dg.DBM((6, 4), pretrained=_machine(), **COMMON).fit(BITS),
    "dbm stream": lambda: _streamed(dg.DBM((7, 5), **COMMON)),
    "dbm stream labels": lambda: _streamed(
        dg.DBM((7, 5), label_units=True, unlabelled=-1, **COMMON), y=FEW_LABELS, classes=[0, 1, 2]
    ),
    "dbm stream after fit": lambda: _streamed(_dbm()),
    "mixture": lambda: dg.MixtureOfBernoullis(
        4, max_iter=5, n_init=2, random_state=3, n_threads=1
    ).fit(BITS),
    "autoencoder": lambda: dg.Autoencoder(5, masking=0.2, l1=0.01, **COMMON).fit(GREY),
    "autoencoder untied": lambda: dg.Autoencoder(
        5, visible="gaussian", hidden="rectified", tied=False, optimizer=dg.SGD(momentum=0.5),
        **COMMON,
    ).fit(REAL),
    "deep autoencoder": lambda: dg.DeepAutoencoder((7, 3), **COMMON).fit(GREY),
    "deep autoencoder greedy": lambda: dg.DeepAutoencoder(
        (7, 3), pretrained=GREEDY, **COMMON
    ).fit(GREY),
    "classifier": lambda: _classifier(activation="rectified", dropout=0.2, l2=0.01),
    "classifier greedy": lambda: _classifier(pretrained=GREEDY, early_stopping=2, top_epochs=1),
    "classifier smoothness": lambda: _classifier(
        FEW_LABELS, smoothness=dg.VirtualAdversarial(0.5), unlabelled=-1
    ),
    "classifier beside a machine": lambda: _classifier(pretrained=_machine()),
    "regressor": lambda: dg.DeepRegressor((7, 5), pretrained=GREEDY, **COMMON).fit(BITS, TARGETS),
    "ratings": lambda: _ratings().fit(RATINGS),
    "ratings users cd": lambda: _ratings(rows="users", rule=dg.CD(2), **FALLING).fit(RATINGS),
    "ratings users pcd": lambda: _ratings(rows="users", rule="pcd", **FALLING).fit(RATINGS),
    "documents": lambda: _topics().fit(COUNTS),
    "documents cd": lambda: _topics(rule="cd").fit(sparse.csr_array(COUNTS)),
    "documents stream": lambda: _streamed(_topics(n_epochs=None), COUNTS),
    "documents deep": lambda: _dbn(COUNTS, visible="multinomial").refine(COUNTS, 2),
    "sequences": lambda: _temporal().fit(SEQUENCES),
    "sequences window": lambda: _temporal(recurrence="window", visible="gaussian", order=2).fit(
        REAL, lengths=[40, 30, 20]
    ),
    "sequences means": lambda: _temporal(
        recurrence="rtrbm", chunk=9, dropout=0.2, augment=dg.Transpose()
    ).fit(SEQUENCES),
    "sequences stream": lambda: _temporal().partial_fit(SEQUENCES[:2]).partial_fit(SEQUENCES[2:]),
    "ratings stream": lambda: _ratings(rows="users").fit(RATINGS[:200]).partial_fit(RATINGS[200:]),
}  # fmt: skip

# One for each kind of file, to be kept: name of the file, run
FILES = {
    "rbm_gaussian": "rbm gaussian",
    "dbn": "dbn refined",
    "dbm": "dbm",
    "dbm_labels": "dbm labels",
    "mixture": "mixture",
    "autoencoder": "autoencoder",
    "deep_autoencoder": "deep autoencoder greedy",
    "classifier": "classifier greedy",
    "classifier_posterior": "classifier beside a machine",
    "documents": "documents",
    "regressor": "regressor",
}


class StopAt:
    """Callback that breaks a run off after an update of one of its parts, counted from 1."""

    def __init__(self, update, part=1):
        self.update, self.part, self.parts = update, part, 0

    def begin(self, trainer):
        self.parts += 1

    def __call__(self, report):
        pass

    def between_updates(self, trainer):
        if self.parts >= self.part and trainer.n_updates == self.update:
            raise Stop


def _fit_of(make, *data):
    return make, lambda estimator, **resume: estimator.fit(*data, **resume)


# Runs of `fit` that a checkpoint of an earlier version goes on with: estimator and data
STOPPED = {
    "rbm": _fit_of(lambda **more: dg.RBM(7, **COMMON, **more), BITS),
    "dbn": _fit_of(lambda **more: dg.DBN((7, 12), **COMMON, **more), BITS),
    "dbm": _fit_of(lambda **more: dg.DBM((7, 5), **COMMON, **more), BITS),
    "deep autoencoder greedy": _fit_of(
        lambda **more: dg.DeepAutoencoder((7, 3), pretrained=GREEDY, **COMMON, **more), GREY
    ),
    "classifier greedy": _fit_of(
        lambda **more: dg.DeepClassifier(
            (7, 5), pretrained=GREEDY, early_stopping=2, top_epochs=1, **COMMON, **more
        ),
        GREY, LABELS,
    ),
    "documents": _fit_of(lambda **more: _topics(**more), COUNTS),
    "sequences": _fit_of(lambda **more: _temporal(**more), SEQUENCES),
    "ratings users pcd": _fit_of(
        lambda **more: _ratings(rows="users", rule="pcd", **FALLING, **more), RATINGS
    ),
    "regressor": _fit_of(
        lambda **more: dg.DeepRegressor((7, 5), pretrained=GREEDY, **COMMON, **more), BITS, TARGETS
    ),
}  # fmt: skip
# Where each is stopped: update and part, of which a stack has one for each layer, then one for all
PLACES = {
    "rbm": (8, 1),
    "dbn": (8, 2),
    "dbm": (8, 4),  # the joint training asks its callbacks before the greedy start, too
    "deep autoencoder greedy": (4, 2),
    "classifier greedy": (8, 3),
    "documents": (8, 1),
    "ratings users pcd": (4, 1),
    "sequences": (4, 1),
    "regressor": (4, 1),
}
# Streams of `partial_fit`
STREAMS = {
    "rbm stream": lambda: dg.RBM(7, **COMMON),
    "dbn stream": lambda: dg.DBN((7, 5), **COMMON),
    "dbm stream": lambda: dg.DBM((7, 5), **COMMON),
}


def checkpoint_of(name):
    """The file of a checkpoint that was written before."""
    return DATA / f"{name.replace(' ', '_')}_v1.checkpoint"


def model_file_of(name):
    """The file of a model that was written before."""
    return DATA / f"{name}_v1.safetensors"


def gone_on(name):
    """The estimator of a run that goes on from its kept checkpoint."""
    if name in STOPPED:
        make, fit = STOPPED[name]
        return fit(make(), resume=checkpoint_of(name))
    estimator = STREAMS[name]().load_checkpoint(checkpoint_of(name))
    return estimator.partial_fit(BITS[31:90])


def _write_checkpoint(name):
    path = checkpoint_of(name)
    if name in STOPPED:
        make, fit = STOPPED[name]
        callbacks = [dg.Checkpoint(path, minutes=None), StopAt(*PLACES[name])]
        stopped = make(callbacks=callbacks)
        try:
            fit(stopped)
        except Stop:
            return
        raise RuntimeError(f"{name} was not stopped")
    estimator = STREAMS[name]()
    for start, stop in ((0, 7), (7, 30), (30, 31)):
        estimator.partial_fit(BITS[start:stop])
    estimator.save_checkpoint(path)


def digest(estimator):
    """A digest of all that the seed of a run decides."""
    found = hashlib.sha256()

    def take(value):
        if isinstance(value, np.ndarray):
            found.update(f"{value.dtype.str}{value.shape}".encode())
            found.update(np.ascontiguousarray(value).tobytes())
        else:
            found.update(repr(value).encode())

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        estimator.save(path)
        for name, tensor in sorted(load_file(path).items()):
            take(name)
            take(tensor)
    for x in _particles(estimator):
        take(x)
    take(getattr(estimator, "n_updates_", None) or getattr(estimator, "n_iter_", None))
    for entry in [*estimator.history_, *getattr(estimator, "refinement_", [])]:
        place = ("epoch", "layer", "n_updates", "n_rows", "learning_rate", "weight_max")
        take([(name, entry[name]) for name in place if name in entry])
    for answer in _answers(estimator):
        take(answer)
    return found.hexdigest()


def _particles(estimator):
    fitted = getattr(estimator, "_fitted", None)
    return [] if fitted is None or fitted.particles is None else fitted.particles.states


def _answers(estimator):
    """Means and draws for some rows."""
    if isinstance(estimator, dg.RatingsRBM):
        yield estimator.transform(RATINGS)
        yield estimator.predict(np.arange(9)[:, None], np.arange(N_COLUMNS))
        yield estimator.recommend(RATINGS, 4)[0]
        return
    if isinstance(estimator, dg.TemporalRBM):
        X = [REAL[:9]] if _kind(estimator) == "gaussian" else SEQUENCES
        yield estimator.transform(X)
        yield estimator.predict(X)
        yield estimator.forecast(X, 2, n_sweeps=3, random_state=1)
        return
    if isinstance(estimator, dg.ReplicatedSoftmax):
        yield estimator.transform(COUNTS)
        yield estimator.sample(9, n_sweeps=4, random_state=1)
        yield estimator.impute(COUNTS[:9], 3, method="draw", n_chains=2, n_sweeps=3, random_state=1)
        return
    samples = {"gaussian": REAL, "softmax": CATEGORIES, "multinomial": COUNTS}
    rows = samples.get(_kind(estimator), BITS)
    X = rows[:9]
    if hasattr(estimator, "transform"):
        yield estimator.transform(X)
    if hasattr(estimator, "predict_proba"):
        yield estimator.predict_proba(X)
    if hasattr(estimator, "sample"):
        sweeps = {} if isinstance(estimator, dg.MixtureOfBernoullis) else {"n_sweeps": 4}
        yield estimator.sample(9, random_state=1, **sweeps)
        if rows is COUNTS:
            return  # words that documents lack are ReplicatedSoftmax's
        chains = sweeps and {"n_sweeps": 3, "n_chains": 2}
        missing = np.zeros(X.shape, bool)
        missing[:, :6] = True
        yield estimator.impute(X, missing, method="draw", random_state=1, **chains)


def _kind(estimator):
    visible = getattr(estimator, "visible", "binary")
    return visible if isinstance(visible, str) else type(visible).__name__.lower()


def _write():
    for file, name in FILES.items():
        RUNS[name]().save(model_file_of(file))
    for name in [*STOPPED, *STREAMS]:
        _write_checkpoint(name)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    digests = {name: digest(run()) for name, run in RUNS.items()}
    if write:
        DIGESTS.write_text(json.dumps(digests, indent=1) + "\n")
        _write()
    print(json.dumps(digests, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
