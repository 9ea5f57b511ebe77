"""Draws of counts: as many as asked for, of the right columns, alike however they are cut."""

import numpy as np
import pytest
from conftest import assert_same_bits
from deepgen._kernels import engine

import deepgen as dg
from deepgen.layers.passes import LayerContext, Outputs, Site, conditional_pass
from deepgen.runtime.stream import SAMPLE
from deepgen.runtime.work import Work

LENGTHS = np.array([0, 1, 2, 31, 32, 33, 127, 128, 129, 160, 5_000], np.int64)


def drawn(bias, trials, *, first_row=0, n_threads=1):
    """Counts for rows of these lengths, and what they are drawn in proportion to."""
    units = dg.Multinomial(bias=bias)
    shape = (len(trials), units.size)
    sample, mean = np.empty(shape, np.float32), np.empty(shape, np.float32)
    conditional_pass(
        engine.Chain([units.kernel_layer()], []), 0, [None], Outputs(mean, sample),
        LayerContext(trials=trials),
        Site(dg.Stream(4).child("counts"), SAMPLE, first_row), Work(n_threads=n_threads),
    )  # fmt: skip
    return sample, mean


@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 16, 33, 200])
def test_rows_have_as_many_draws_as_they_ask_for(size):
    """Would catch the first or the last draw of a block of 32 that is lost or made twice, what is
    kept of the first ones only, and a walk that ends before the last column."""
    bias = np.random.default_rng(size).normal(0.0, 2.0, size)
    sample, mean = drawn(bias, LENGTHS)
    assert (sample.sum(axis=1) == LENGTHS).all()
    assert (sample == np.floor(sample)).all()
    assert (sample >= 0).all()
    np.testing.assert_allclose(mean.sum(axis=1), LENGTHS, rtol=1e-5)


@pytest.mark.parametrize("trials", [1, 3, 40, 200])
@pytest.mark.parametrize("size", [3, 8, 21])
def test_counts_have_the_moments_of_a_multinomial(size, trials):
    """Would catch draws whose order is one uniform too long, a column that is preferred at the edge
    of eight, and draws of a row that are not independent."""
    n_rows = 20_000
    bias = np.random.default_rng(trials).normal(0.0, 0.5, size)
    p = np.exp(bias) / np.exp(bias).sum()
    sample, _ = drawn(bias, np.full(n_rows, trials, np.int64))
    covariance = trials * (np.diag(p) - np.outer(p, p))
    error = np.sqrt(np.diag(covariance) / n_rows)
    assert (np.abs(sample.mean(axis=0) - trials * p) < 5 * error).all()
    away = sample.astype(np.float64) - trials * p
    products = away[:, :, None] * away[:, None, :]
    error = products.std(axis=0) / np.sqrt(n_rows)
    assert (np.abs(products.mean(axis=0) - covariance) < 5 * error + 1e-12).all()


def test_rows_alone_and_together_are_the_same_counts():
    """Would catch draws that depend on the neighbours of a row or on the threads."""
    bias = np.random.default_rng(1).normal(0.0, 1.0, 300)
    together, _ = drawn(bias, LENGTHS)
    assert_same_bits(drawn(bias, LENGTHS, n_threads=2)[0], together)
    for row, trials in enumerate(LENGTHS):
        alone, _ = drawn(bias, np.array([trials]), first_row=row)
        assert_same_bits(alone[0], together[row])


def test_columns_of_no_mass_are_never_drawn():
    """Would catch a draw that falls on a column next to the right one."""
    bias = np.full(40, -80.0)
    bias[[5, 8, 39]] = 0.0
    sample, _ = drawn(bias, np.full(500, 60, np.int64))
    assert sample[:, [5, 8, 39]].sum() == sample.sum() == 500 * 60
    assert (sample[:, [5, 8, 39]].sum(axis=0) > 0).all()
