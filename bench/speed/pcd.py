"""The systems compared by `bench.speed gibbs`: PCD-1 on a binary RBM, any number of particles.

Settings are those of `peers.py`. The positive phase takes probabilities of the rows of a batch;
particles draw visible states from their hidden ones, give probabilities to the statistics, and
draw their next hidden states from the same. Each phase is divided by its own number of rows.
Particles start as fair coins, deepgen's from its biases: an epoch to settle comes before the one
that is timed.
"""

import numpy as np

from bench.speed import peers
from bench.speed.peers import BATCH_SIZE, LEARNING_RATE, MOMENTUM, N_HIDDEN, WEIGHT_DECAY


def train_deepgen(rows, n_epochs, on_epoch, n_particles):
    """Fit `deepgen.RBM`."""
    import deepgen as dg

    rule = dg.PCD(1, n_particles=n_particles, centring=False)
    callbacks = [lambda report: on_epoch()]
    return peers.parameters_of(peers.fit_deepgen(rows, n_epochs, callbacks, rule))


def train_numpy(rows, n_epochs, on_epoch, n_particles):
    """Run the loop that one would write by hand, in float32 throughout."""
    rng = np.random.default_rng(0)
    weights = 0.01 * rng.standard_normal((rows.shape[1], N_HIDDEN), dtype=np.float32)
    parameters = [weights, np.zeros(len(weights), np.float32), np.zeros(N_HIDDEN, np.float32)]
    velocities = [np.zeros_like(parameter) for parameter in parameters]
    weights, visible_bias, hidden_bias = parameters

    def sample(mean):
        return (rng.random(mean.shape, dtype=np.float32) < mean).astype(np.float32)

    particles = sample(np.full((n_particles, N_HIDDEN), 0.5, np.float32))
    for _ in range(n_epochs):
        order = rng.permutation(len(rows))
        for start in range(0, len(rows), BATCH_SIZE):
            v_data = rows[order[start : start + BATCH_SIZE]]
            h_data = peers.logistic(v_data @ weights + hidden_bias)
            v_model = sample(peers.logistic(particles @ weights.T + visible_bias))
            h_model = peers.logistic(v_model @ weights + hidden_bias)
            particles = sample(h_model)
            bias_gradients = (
                v_data.mean(axis=0) - v_model.mean(axis=0),
                h_data.mean(axis=0) - h_model.mean(axis=0),
            )
            # the small factors are divided, not the products
            h_data /= len(v_data)
            h_model /= n_particles
            gradient = v_data.T @ h_data
            gradient -= v_model.T @ h_model
            gradient -= WEIGHT_DECAY * weights
            for parameter, velocity, change in zip(
                parameters, velocities, (gradient, *bias_gradients), strict=True
            ):
                velocity *= MOMENTUM
                velocity += LEARNING_RATE * change
                parameter += velocity
        on_epoch()
    return weights, visible_bias, hidden_bias


def train_torch(rows, n_epochs, on_epoch, n_particles):
    """Run the same loop on PyTorch tensors, eagerly and without autograd."""
    import torch

    torch.manual_seed(0)
    rows = torch.from_numpy(rows)
    weights = 0.01 * torch.randn(rows.shape[1], N_HIDDEN)
    visible_bias, hidden_bias = torch.zeros(rows.shape[1]), torch.zeros(N_HIDDEN)
    optimizer = peers.torch_optimizer(weights, visible_bias, hidden_bias)

    def sample(mean):  # 2 to 3 times as fast as torch.bernoulli on a CPU
        return torch.rand_like(mean).lt_(mean)

    with torch.no_grad():
        particles = sample(torch.full((n_particles, N_HIDDEN), 0.5))
        for _ in range(n_epochs):
            for batch in torch.randperm(len(rows)).split(BATCH_SIZE):
                v_data = rows[batch]
                h_data = torch.addmm(hidden_bias, v_data, weights).sigmoid_()
                v_model = sample(torch.addmm(visible_bias, particles, weights.T).sigmoid_())
                h_model = torch.addmm(hidden_bias, v_model, weights).sigmoid_()
                particles = sample(h_model)
                gradient = v_data.T @ h_data
                weights.grad = gradient.addmm_(
                    v_model.T, h_model, beta=1 / len(batch), alpha=-1 / n_particles
                )
                visible_bias.grad = v_data.mean(dim=0) - v_model.mean(dim=0)
                hidden_bias.grad = h_data.mean(dim=0) - h_model.mean(dim=0)
                optimizer.step()
            on_epoch()
    return weights.numpy(), visible_bias.numpy(), hidden_bias.numpy()


# by name: training, dtype of the rows, and whether it needs the peers' interpreter
SYSTEMS = {
    "deepgen": (train_deepgen, "uint8", False),
    "numpy": (train_numpy, "float32", False),
    "torch": (train_torch, "float32", True),
}
