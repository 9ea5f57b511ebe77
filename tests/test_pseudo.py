"""The pseudo-likelihood against sums over single units by hand."""

import numpy as np
import pytest
from conftest import FIVE_SIGMA, in_form, random_model, whole_rows

import deepgen as dg

pytestmark = pytest.mark.usefixtures("serial")

CASES = [
    (("binary", "binary"), (5, 4)),
    (("copies", "binary"), (4, 3)),
    (("softmax", "binary"), (6, 4)),
    (("binary", "gaussian"), (5, 3)),
]


def by_hand(model, v):
    """Sum over units of log p(v_i | others) from free energies of whole rows."""
    visible, total = model.layers[0], np.zeros(len(v))
    for first in range(0, visible.size, visible.group):
        columns = slice(first, first + visible.group)
        if visible.group > 1:
            states = list(np.eye(visible.group, dtype=np.uint8))
        else:
            states = [np.array([x], np.uint8) for x in range(visible.n_copies + 1)]
        log_p = []
        for state in states:
            changed = v.copy()
            changed[:, columns] = state
            log_p.append(-dg.free_energy(model, changed))
        total += -dg.free_energy(model, v) - np.logaddexp.reduce(log_p, axis=0)
    return total


@pytest.mark.parametrize(("kinds", "sizes"), CASES)
def test_all_sites_equal_the_sum_by_hand(kinds, sizes):
    """Catches a unit that is compared with itself, and base measures that are left out."""
    model = random_model(kinds, 1, sizes)
    v = whole_rows(model.layers[0], 7, 1)
    found = dg.pseudo_log_likelihood(model, v, n_sites=None)
    np.testing.assert_allclose(found, by_hand(model, v), rtol=1e-5, atol=1e-5)
    as_csr = dg.pseudo_log_likelihood(model, in_form(v, "csr"), n_sites=None)
    np.testing.assert_allclose(as_csr, found, rtol=1e-6)


@pytest.mark.parametrize(("kinds", "sizes"), CASES)
def test_drawn_sites_are_unbiased(kinds, sizes):
    """Catches a scale by columns where groups are meant, and sites that are never drawn."""
    model = random_model(kinds, 2, sizes)
    v = whole_rows(model.layers[0], 1, 2)
    many = np.repeat(v, 4000, axis=0)
    found = dg.pseudo_log_likelihood(model, many, n_sites=2, random_state=0)
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - by_hand(model, v)[0]) < FIVE_SIGMA * error + 1e-5
    again = dg.pseudo_log_likelihood(model, many, n_sites=2, random_state=0)
    assert (found == again).all()


def test_independent_units_have_their_likelihood():
    """Catches a wrong sign: without weights the pseudo-likelihood is the likelihood."""
    model = random_model(("binary", "binary"), 3, (6, 4), scale=0.0)
    v = whole_rows(model.layers[0], 9, 3)
    found = dg.pseudo_log_likelihood(model, v, n_sites=None)
    np.testing.assert_allclose(found, dg.exact_log_likelihood(model, v), rtol=1e-5)


def test_what_has_no_pseudo_likelihood_is_refused():
    """Catches numbers for grey values or real units, which would mean nothing."""
    binary = random_model(("binary", "binary"), 4, (5, 4))
    with pytest.raises(ValueError, match="got Gaussian ones"):
        dg.pseudo_log_likelihood(random_model(("gaussian", "binary"), 4), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="binarize grey values"):
        dg.pseudo_log_likelihood(binary, np.full((2, 5), 0.5))
    with pytest.raises(ValueError, match="model must have 2 layers"):
        dg.pseudo_log_likelihood(random_model(("binary",) * 3, 4), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="n_sites must be"):
        dg.pseudo_log_likelihood(binary, np.zeros((1, 5)), n_sites=0)
    with pytest.raises(ValueError, match=r"shape \(n_rows, 5\)"):
        dg.pseudo_log_likelihood(binary, np.zeros((1, 4)))
    assert dg.pseudo_log_likelihood(binary, np.zeros((0, 5))).shape == (0,)
