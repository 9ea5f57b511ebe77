"""Rows of counts of one length, listed one by one."""

from itertools import product

import numpy as np
import pytest

import deepgen as dg


@pytest.mark.parametrize(("size", "trials"), [(1, 4), (3, 0), (3, 4), (2_000, 1)])
def test_every_row_of_a_length_is_listed_with_its_orders(size, trials):
    """Would catch a row that is left out or comes twice, orders of draws that are miscounted, and a
    list that takes a call for each of many columns."""
    rng = np.random.default_rng(size)
    units = dg.Multinomial(bias=rng.normal(0.0, 1.0, size), trials=trials)
    rows, log_orders = units.alternatives()
    found = rows.toarray()
    assert found.shape == (units.n_states, size)
    assert len(np.unique(found, axis=0)) == units.n_states
    assert (found.sum(axis=1) == trials).all()
    if size < 5:
        draws = np.array(list(product(range(size), repeat=trials)), int)
        ordered = [np.bincount(row, minlength=size) for row in draws]
        for row, log_count in zip(found, log_orders, strict=True):
            count = sum((row == other).all() for other in ordered)
            np.testing.assert_allclose(np.exp(log_count), count, rtol=1e-9)
    total = np.logaddexp.reduce(log_orders + rows @ units.bias.astype(np.float64))
    np.testing.assert_allclose(total, trials * np.logaddexp.reduce(units.bias), rtol=1e-5)
