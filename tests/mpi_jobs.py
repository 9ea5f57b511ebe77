"""What the processes of a small MPI job do: ``mpirun -n 3 python tests/mpi_jobs.py NAME``.

Each job is a function; what it returns is printed as JSON by process 0. With ``ALONE=1`` in the
environment there is no communicator: the same calls in one process.
"""

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import deepgen as dg

RNG = np.random.default_rng(0)
# of two kinds, in an order that a wrong cut would show
BITS = (RNG.random((97, 12)) < np.where(np.arange(97)[:, None] % 2, 0.75, 0.2)).astype(np.uint8)
ONE_HOT = np.eye(4, 3, dtype=np.uint8)[RNG.integers(0, 4, (97, 4))].reshape(97, 12)
REAL = (RNG.integers(-512, 512, (97, 12)) / 256).astype(np.float32)
LABELS = np.arange(97) % 3
COMMON = {"n_epochs": 3, "batch_size": 10, "random_state": 1}


def communicator():
    """The one of this job."""
    if os.environ.get("ALONE"):
        return None
    return dg.distributed.mpi(silence=float(os.environ.get("SILENCE", "60")))


def digest(*arrays):
    """A short digest of arrays' bytes."""
    return hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in arrays)).hexdigest()[:12]


def of_model(model):
    """A digest of a machine, a network or a stack of machines."""
    if isinstance(model, list | tuple):
        return [of_model(machine) for machine in model]
    if isinstance(model, dg.ProductMixture):
        return digest(model.log_weights, model.fields, *model.visible.parameters().values())
    if isinstance(model, dg.Network):
        return digest(*(layer.bias for layer in model.layers),
                      *(layer.weights for layer in model.layers if layer.weights is not None))
    by_layer = [array for units in model.layers for array in units.parameters().values()]
    return digest(*model.weights, *by_layer)


def ends(bracket):
    """The numbers of a bracket of log Z."""
    return [bracket.lower, bracket.value, bracket.upper]


def machines(comm, n_threads=1):
    """Machines whose sums are whole numbers: the bits of one process without a communicator."""
    common = {**COMMON, "communicator": comm, "n_threads": n_threads}
    deep = dg.MeanFieldPCD(n_particles=20)
    few = dg.PCD(n_particles=5, sparsity=dg.Sparsity(0.2))
    made = {
        "cd": dg.RBM(7, rule="cd", **common).fit(BITS),
        "pcd": dg.RBM(7, rule=few, optimizer=dg.Adam(), **common).fit(BITS),
        "softmax": dg.RBM(7, visible=dg.Softmax(3), rule="cd", **common).fit(ONE_HOT),
        "single rows": dg.RBM(7, **{**common, "batch_size": 1, "n_epochs": 1}).fit(BITS),
        "batches": dg.RBM(7, rule="cd", **common).fit(Batches()),
        "dbm": dg.DBM((7, 5), pretrained=None, rule=deep, **common).fit(BITS),
        "labels": dg.DBM(
            (7, 5), pretrained=None, rule=deep, label_units=True, **common
        ).fit(BITS, LABELS),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:  # each process has files of its own
        for number, rows in enumerate(np.split(BITS, [3, 3, 60])):  # one is empty
            np.save(Path(folder, f"{number}.npy"), rows)
        files = dg.distributed.Shards(folder)
        made["shards"] = dg.RBM(7, rule=few, **common).fit(files)
    found = {name: of_model(each.model_) for name, each in made.items()}
    dbn = dg.DBN((7, 5), **common).fit(BITS)
    found["dbn"] = of_model(dbn.stack_)
    few_chains = {"n_chains": 10, "n_betas": 20}
    for name, each in (("dbn", dbn), ("dbm", made["dbm"])):
        found[f"{name} log Z"] = ends(each.log_partition(**few_chains))
        found[f"{name} score"] = each.score(BITS[:9])
        found[f"{name} samples"] = digest(each.sample(5, n_sweeps=5, random_state=0))
    rbm, holes = made["pcd"], np.where(np.arange(12) == 3, np.nan, BITS[:5])
    found["particles"] = digest(*rbm._fitted.particles.states)
    found["samples"] = digest(rbm.sample(2, n_sweeps=5, random_state=0))
    found["completed"] = digest(*rbm.impute(holes, n_chains=2, n_sweeps=3, random_state=0,
                                            return_std=True))  # fmt: skip
    wide = dg.RBM(40, rule="cd", **common).fit(np.tile(BITS, (1, 4)))
    found["log Z"] = ends(wide.log_partition(**few_chains))
    found["score"] = wide.score(np.tile(BITS[:9], (1, 4)))
    history = [{k: v for k, v in line.items() if k != "seconds"} for line in rbm.history_]
    if comm is not None:
        lines = comm.gather(rbm.history_)
        assert all(each == lines[0] for each in lines), lines
        assert len(set(comm.gather(json.dumps(found)))) == 1
    return {**found, "history": history}


def threads(comm):
    """The same with two threads in each process."""
    return machines(comm, n_threads=2)


def reals(comm):
    """Runs whose sums are no whole numbers: the bits of any number of processes."""
    common = {**COMMON, "communicator": comm, "n_threads": 1}
    made = {
        "gaussian": dg.RBM(7, visible="gaussian", **common).fit(REAL),
        "grey": dg.RBM(7, rule="cd", **common).fit((REAL + 2) / 4),
        "greedy": dg.DBM((7, 5), **common).fit(BITS),
        "autoencoder": dg.Autoencoder(5, masking=0.3, l1=0.01, l2=0.01, **common).fit(BITS),
        "deep autoencoder": dg.DeepAutoencoder(
            (7, 3), pretrained=dg.Pretraining(2), code="logistic", code_noise=1.0, **common
        ).fit(BITS),
        "classifier": dg.DeepClassifier(
            (6,), dropout=0.2, input_dropout=0.1, early_stopping=2, class_weight="balanced",
            unlabelled=-1, smoothness=dg.VirtualAdversarial(0.5, 1.0), **common
        ).fit(BITS, np.where(np.arange(97) % 4, LABELS, -1)),
        "line searches": dg.DeepClassifier(
            (6,), optimizer=dg.LBFGS(), **{**common, "batch_size": 50}
        ).fit(BITS, LABELS),
        "regressor": dg.DeepRegressor((6,), **common).fit(10.0 * REAL, REAL[:, 0]),
    }
    mixtures = {
        "mixture": dg.MixtureOfBernoullis(3, random_state=0, communicator=comm, max_iter=4),
        "mixture with holes": dg.MixtureOfBernoullis(2, random_state=0, communicator=comm),
        "real mixture with holes": dg.MixtureOfProducts(
            2, visible="gaussian", random_state=0, communicator=comm
        ),
    }
    many = np.tile(BITS, (40, 1))  # several chunks of rows
    for name, mixture in mixtures.items():
        X = np.where(many + np.arange(12) % 5 == 5, np.nan, many) if "holes" in name else many
        made[name] = mixture.fit(X)
    return {name: of_model(each.model_) for name, each in made.items()}


def checkpoint(comm, path, how):
    """A run that stops after some updates, is killed in one, or goes on from there."""
    stop = Stop(17) if how == "stop" else None
    if how == "kill":
        kill_in_update(comm, 14)
    settings = {**COMMON, "communicator": comm, "rule": dg.PCD(n_particles=7), "n_threads": 1}
    callbacks = [dg.Checkpoint(path, minutes=None, epochs=1)] + [stop] * (stop is not None)
    rbm = dg.RBM(7, callbacks=callbacks, **settings)
    try:
        rbm.fit(BITS, resume=path if how == "resume" else None)
    except KeyboardInterrupt:
        return "stopped"
    return [of_model(rbm.model_), rbm.n_updates_, digest(*rbm._fitted.particles.states)]


class Batches:
    """The rows, in batches of other sizes than those of the run."""

    def __iter__(self):
        yield from (BITS[:40], BITS[40:41], BITS[41:])


class Stop:
    """A callback that sends Ctrl-C to the last process alone, in the middle of an epoch."""

    def __init__(self, n_updates):
        self.n_updates = n_updates

    def __call__(self, report):
        return False

    def between_updates(self, trainer):
        if trainer.n_updates == self.n_updates and is_last(trainer):
            os.kill(os.getpid(), signal.SIGINT)


def is_last(trainer):
    """Tell whether this is the last process of a run."""
    return trainer.collective.rank == trainer.collective.size - 1


def failing():
    """Say when a failure comes; also in a file, since launchers may lose last words."""
    print("failing", time.time(), file=sys.stderr, flush=True)
    if "FAILING" in os.environ:
        Path(os.environ["FAILING"]).write_text(str(time.time()))


def kill_in_update(comm, number, rank=-1):
    """Let a process, the last one, be killed in an update as where memory is short."""
    add, killed = comm.sum, rank % comm.size

    def add_or_die(array, most=np.inf):
        nonlocal number
        number -= array.size > 1  # flags are single numbers
        if number == 0 and comm.rank == killed:  # the others wait for it
            failing()
            os.kill(os.getpid(), signal.SIGKILL)
        add(array, most)

    comm.sum = add_or_die


class Do:
    """A callback that does something in the last process, in mid-epoch."""

    def __init__(self, action):
        self.action = action

    def __call__(self, report):
        return False

    def between_updates(self, trainer):
        if trainer.n_updates == 13 and is_last(trainer):
            failing()
            self.action(trainer)


def run_with(comm, action, **settings):
    """Fit with a callback that does something in the last process."""
    common = {**COMMON, "communicator": comm, "n_threads": 1, "n_epochs": 2_000, **settings}
    dg.RBM(7, callbacks=[Do(action)], **common).fit(BITS)
    return "finished"


def raises(comm):
    """An error of one process in mid-run."""

    def fail(trainer):
        raise RuntimeError("no space left in this process")

    return run_with(comm, fail)


def killed(comm):
    """A process that is killed in the middle of an update."""
    kill_in_update(comm, 14)
    return run_with(comm, lambda trainer: None)


def first_killed(comm):
    """The same of the process that all others hear from."""
    kill_in_update(comm, 14, rank=0)
    return run_with(comm, lambda trainer: None)


def frozen(comm):
    """A process that no longer does anything, and whose machine is still there."""
    return run_with(comm, lambda trainer: os.kill(os.getpid(), signal.SIGSTOP))


def leaves(comm):
    """A process that ends in good order while others wait for it."""
    return run_with(comm, lambda trainer: sys.exit(0))


def diverges(comm):
    """A NaN that one process alone makes: all raise, at the same update."""

    def spoil(trainer):
        trainer.rule_state.offsets[1][0] = np.nan

    try:
        run_with(comm, spoil)
    except dg.DivergedError as error:
        return comm.gather(str(error).split(" at ")[0])
    return "finished"


def other_settings(comm):
    """Processes that do not make the same call."""
    try:
        dg.RBM(7, **{**COMMON, "batch_size": 10 + comm.rank, "communicator": comm}).fit(BITS)
    except ValueError as error:
        return comm.gather(str(error))
    return "finished"


def bad_rows(comm):
    """A value that only the rows of one process have."""
    X = BITS.astype(np.float32)
    if comm.rank == comm.size - 1:
        X[5, 3] = 7.0
    try:
        dg.RBM(7, **COMMON, communicator=comm).fit(X)
    except (ValueError, RuntimeError) as error:
        return comm.gather(f"{type(error).__name__}: {error}")
    return "finished"


def alone_in_a_call(comm):
    """A method that one process calls alone, with nobody left to answer."""
    rbm = dg.RBM(7, **COMMON, communicator=comm).fit(BITS)
    if comm.rank == 0:
        failing()
        rbm.sample(5)
    return "finished"


def begins(comm):
    """Nothing but a start and an end."""
    return comm.gather(comm.rank)


def main():
    """Run the job that the first argument names."""
    name, *arguments = sys.argv[1:]
    comm = communicator()
    result = globals()[name](comm, *arguments)
    if comm is None or comm.rank == 0:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
