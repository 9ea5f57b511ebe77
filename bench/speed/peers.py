"""The systems compared by `bench.speed rbm`: contrastive divergence on a binary RBM.

All take CD-1 steps with the constants below: hidden states are drawn from the data, visible states
from those, the last hidden layer stays at its probabilities; the positive statistics also
use probabilities. Weights start small and normal, hidden biases at zero. Where a system cannot
do that, its `remark` says so.

Each `train_*` takes rows in the dtype of its `System`, calls `on_epoch()` after every epoch and
returns (weights of shape (n_visible, n_hidden), visible bias, hidden bias). Packages are imported
inside, since none but NumPy need be there.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.speed import arithmetic, machine

N_HIDDEN = 500
BATCH_SIZE = 100
LEARNING_RATE = 0.05
MOMENTUM = 0.5
WEIGHT_DECAY = 2e-4


@dataclass(frozen=True)
class System:
    """One implementation and how it is run."""

    train: Callable
    dtype: str  # of the rows: the one it is fastest with
    remark: str = ""
    needs_torch: bool = False
    has_velocity: bool = True  # one array more that an update reads and writes


def timed_epochs(train, path, n_epochs):
    """Train one system on the rows of a file, in a process of its own.

    Returns
    -------
    dict
        `seconds` an epoch (median of `n_epochs`, after one to warm up), `peak` memory of the
        process in bytes, and two signs that all learned the same on 1,000 training rows: the
        mean squared `error` of their reconstruction and the mean of hidden units, `active`.
    """
    rows = np.load(path)
    marks = []
    weights, visible_bias, hidden_bias = train(
        rows, 1 + n_epochs, lambda: marks.append(time.perf_counter())
    )
    peak = machine.peak_memory()
    v_data = rows[:1000].astype(np.float32)
    hidden = 1 / (1 + np.exp(-(v_data @ weights + hidden_bias)))
    visible = 1 / (1 + np.exp(-(hidden @ weights.T + visible_bias)))
    return {
        "seconds": statistics.median(np.diff(marks).tolist()),
        "peak": peak,
        "error": float(np.mean((v_data - visible) ** 2)),
        "active": float(np.mean(hidden)),
    }


def fit_deepgen(rows, n_epochs, callbacks=None, rule=None):
    """Return a fitted `deepgen.RBM`, as plain as its peers: neither centred nor averaged.

    Its own first hidden bias, -2, keeps most hidden units off. Its kernels skip what is off, so it
    would learn another model, faster: here it starts at zero as the others do.
    """
    import deepgen as dg

    return dg.RBM(
        n_hidden=N_HIDDEN,
        hidden=dg.Binary(bias=np.zeros(N_HIDDEN)),
        rule=dg.CD(1, centring=False) if rule is None else rule,
        learning_rate=LEARNING_RATE,
        optimizer=dg.SGD(momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, averaging=0.0),
        batch_size=BATCH_SIZE,
        n_epochs=n_epochs,
        random_state=0,
        callbacks=callbacks,
    ).fit(rows)


def train_deepgen(rows, n_epochs, on_epoch):
    """Fit `deepgen.RBM`."""
    return parameters_of(fit_deepgen(rows, n_epochs, callbacks=[lambda report: on_epoch()]))


def parameters_of(rbm):
    """Return the arrays of a fitted `deepgen.RBM`, after a look at its arithmetic."""
    arithmetic.check_on_grid(rbm.model_)
    visible, hidden = rbm.model_.layers
    return rbm.model_.weights[0], visible.bias, hidden.bias


def fit_sklearn(rows, n_epochs, on_update=lambda: None):
    """Return a fitted `BernoulliRBM` that calls `on_update()` after every batch."""
    from sklearn.neural_network import BernoulliRBM

    class ObservedRBM(BernoulliRBM):
        def _fit(self, v_pos, rng):
            super()._fit(v_pos, rng)
            on_update()

    return ObservedRBM(
        N_HIDDEN,
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        n_iter=n_epochs,
        random_state=0,
    ).fit(rows)


def train_sklearn(rows, n_epochs, on_epoch):
    """Fit `BernoulliRBM`, counting its batches: it reports no epochs."""
    n_batches = -(-len(rows) // BATCH_SIZE)
    n_updates = 0

    def on_update():
        nonlocal n_updates
        n_updates += 1
        if n_updates % n_batches == 0:
            on_epoch()

    rbm = fit_sklearn(rows, n_epochs, on_update)
    return rbm.components_.T, rbm.intercept_visible_, rbm.intercept_hidden_


def train_numpy(rows, n_epochs, on_epoch):
    """Run the loop that one would write by hand, in float32 throughout."""
    rng = np.random.default_rng(0)
    weights = 0.01 * rng.standard_normal((rows.shape[1], N_HIDDEN), dtype=np.float32)
    parameters = [weights, np.zeros(len(weights), np.float32), np.zeros(N_HIDDEN, np.float32)]
    velocities = [np.zeros_like(parameter) for parameter in parameters]
    weights, visible_bias, hidden_bias = parameters

    def sample(mean):
        return (rng.random(mean.shape, dtype=np.float32) < mean).astype(np.float32)

    for _ in range(n_epochs):
        order = rng.permutation(len(rows))
        for start in range(0, len(rows), BATCH_SIZE):
            v_data = rows[order[start : start + BATCH_SIZE]]
            h_data = logistic(v_data @ weights + hidden_bias)
            v_model = sample(logistic(sample(h_data) @ weights.T + visible_bias))
            h_model = logistic(v_model @ weights + hidden_bias)
            gradients = (
                (v_data.T @ h_data - v_model.T @ h_model) / len(v_data) - WEIGHT_DECAY * weights,
                (v_data - v_model).mean(axis=0),
                (h_data - h_model).mean(axis=0),
            )
            for parameter, velocity, gradient in zip(
                parameters, velocities, gradients, strict=True
            ):
                velocity *= MOMENTUM
                velocity += LEARNING_RATE * gradient
                parameter += velocity
        on_epoch()
    return weights, visible_bias, hidden_bias


def logistic(field):
    """1 / (1 + exp(-field)), in place."""
    np.negative(field, out=field)
    np.exp(field, out=field)
    field += 1
    return np.reciprocal(field, out=field)


def train_torch(rows, n_epochs, on_epoch):
    """Run the same loop on PyTorch tensors, eagerly and without autograd."""
    import torch

    torch.manual_seed(0)
    rows = torch.from_numpy(rows)
    weights = 0.01 * torch.randn(rows.shape[1], N_HIDDEN)
    visible_bias, hidden_bias = torch.zeros(rows.shape[1]), torch.zeros(N_HIDDEN)
    optimizer = torch_optimizer(weights, visible_bias, hidden_bias)

    def sample(mean):  # 2 to 3 times as fast as torch.bernoulli on a CPU
        return torch.lt(torch.rand_like(mean), mean).to(torch.float32)

    with torch.no_grad():
        for _ in range(n_epochs):
            for batch in torch.randperm(len(rows)).split(BATCH_SIZE):
                v_data = rows[batch]
                h_data = torch.addmm(hidden_bias, v_data, weights).sigmoid_()
                v_mean = torch.addmm(visible_bias, sample(h_data), weights.T).sigmoid_()
                v_model = sample(v_mean)
                h_model = torch.addmm(hidden_bias, v_model, weights).sigmoid_()
                gradient = v_data.T @ h_data
                weights.grad = gradient.addmm_(v_model.T, h_model, alpha=-1).div_(len(batch))
                visible_bias.grad = (v_data - v_model).mean(dim=0)
                hidden_bias.grad = (h_data - h_model).mean(dim=0)
                optimizer.step()
            on_epoch()
    return weights.numpy(), visible_bias.numpy(), hidden_bias.numpy()


def train_rbms(rows, n_epochs, on_epoch):
    """Take the steps of the library `rbms` (states, chains, gradient) without its file writes."""
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM

    torch.manual_seed(0)
    rows = torch.from_numpy(rows)
    model = BBRBM(
        weight_matrix=0.01 * torch.randn(rows.shape[1], N_HIDDEN),
        vbias=torch.zeros(rows.shape[1]),
        hbias=torch.zeros(N_HIDDEN),
    )
    model.init_grad()
    optimizer = torch_optimizer(model.weight_matrix, model.vbias, model.hbias)
    with torch.no_grad():
        for _ in range(n_epochs):
            for batch in torch.randperm(len(rows)).split(BATCH_SIZE):
                data = model.init_chains(len(batch), start_v=rows[batch])
                chains = model.init_chains(len(batch), start_v=rows[batch])
                chains = model.sample_state(chains=chains, n_steps=1)
                model.compute_gradient(data=data, chains=chains, centered=False)
                optimizer.step()
            on_epoch()
    return model.weight_matrix.numpy(), model.vbias.numpy(), model.hbias.numpy()


def torch_optimizer(weights, visible_bias, hidden_bias):
    """Gradient ascent with momentum; only weights decay."""
    from torch.optim import SGD

    return SGD(
        [
            {"params": [weights], "weight_decay": WEIGHT_DECAY},
            {"params": [visible_bias, hidden_bias]},
        ],
        lr=LEARNING_RATE,
        momentum=MOMENTUM,
        maximize=True,
        fused=True,
    )


SYSTEMS = {
    "deepgen": System(train_deepgen, "uint8", "uncentred, no averaging, hidden biases from 0"),
    "numpy": System(train_numpy, "float32", "plain loop"),
    "scikit-learn": System(
        train_sklearn,
        "float32",
        "PCD-1 (as many products), no momentum, no decay, no shuffling",
        has_velocity=False,
    ),
    "torch": System(train_torch, "float32", "plain loop, eager", needs_torch=True),
    "rbms": System(train_rbms, "float32", "uncentred, without file writes", needs_torch=True),
}
