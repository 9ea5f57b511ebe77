"""Models whose modes and ladders are known, for tests of samplers that temper."""

import numpy as np

import deepgen as dg

KINDS = [
    (("binary", "binary"), (5, 4)),
    (("softmax", "binary", "copies"), (6, 3, 2)),
    (("gaussian", "binary", "softmax"), (3, 4, 6)),
]


def two_modes(tightness, share=1.0, n=60):
    """A broad mode (no field, hidden unit off) and a tight one of the same mass."""
    field = share * tightness * np.where(np.arange(n) % 2, 1.0, -1.0)
    bias = n * np.log(2.0) - np.logaddexp(0.0, field).sum()
    layers = [dg.Binary(bias=np.zeros(n)), dg.Binary(bias=[bias])]
    return dg.BoltzmannMachine(layers, [field[:, None]])


def way_to(tightness):
    """A ladder of models along which both modes have the same mass."""
    shares = np.linspace(0.0, 1.0, 9)[:-1] ** 2
    return dg.TrajectoryTempering([two_modes(tightness, share) for share in shares])


def modes_of_mass(masses, tightness, share=1.0, n=60):
    """A broad mode and tight ones, each with its own hidden unit, mass and field."""
    columns, biases = [], []
    for number, (mass, own) in enumerate(zip(masses, tightness, strict=True)):
        field = share * own * np.where(np.arange(n) % (number + 2), 1.0, -1.0)
        columns.append(field)
        biases.append(
            n * np.log(2.0) - np.logaddexp(0.0, field).sum() + np.log(mass / (1.0 - sum(masses)))
        )
    layers = [dg.Binary(bias=np.zeros(n)), dg.Binary(bias=biases)]
    return dg.BoltzmannMachine(layers, [np.stack(columns, axis=1)])


def scaled(model, share):
    """A model with a share of all weights and biases."""
    layers = [layer.replace(bias=share * layer.bias) for layer in model.layers]
    return model.replace(layers=layers, weights=[share * w for w in model.weights])


def ladder_to(model):
    """A ladder of one rung, without weights."""
    return dg.TrajectoryTempering([dg.independent(model)])
