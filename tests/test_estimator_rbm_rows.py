"""Rows that the RBM estimator learns from: every form of the same rows, batches, grey values."""

import copy
import os
import warnings

import numpy as np
import pandas as pd
import pytest
import rbm_cases
from comparisons import bits
from conftest import Batches
from rbm_cases import GREY, REAL, SMALL, X
from scipy import sparse

import deepgen as dg

pytestmark = pytest.mark.usefixtures("serial_module")

fitted = rbm_cases.fitted


# ----------------------------------------------------------------------- forms of the same rows


def memmap_of(rows, folder):
    path = os.path.join(folder, "rows.dat")
    array = np.memmap(path, rows.dtype, "w+", shape=rows.shape)
    array[...] = rows
    array.flush()
    return np.memmap(path, rows.dtype, "r", shape=rows.shape)


def csr_with_int64_indices(rows):
    matrix = sparse.csr_matrix(rows.astype(np.float32))
    matrix.indices, matrix.indptr = matrix.indices.astype("i8"), matrix.indptr.astype("i8")
    return matrix


def csr_in_disorder(rows):
    """Columns descending, explicit zeros, and each value cut into two halves."""
    matrix = sparse.csr_matrix(rows.astype(np.float32))
    parts = []
    for i in range(matrix.shape[0]):
        columns = matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]][::-1]
        values = matrix.data[matrix.indptr[i] : matrix.indptr[i + 1]][::-1]
        parts.append((np.r_[columns, columns, 0], np.r_[values / 2, values / 2, 0.0]))
    starts = np.cumsum([0] + [len(columns) for columns, _ in parts])
    columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return sparse.csr_matrix((values.astype(np.float32), columns, starts), shape=rows.shape)


def padded(rows):
    wide = np.zeros((2 * rows.shape[0], 3 * rows.shape[1]), rows.dtype)
    wide[::2, 1::3] = rows
    return wide[::2, 1::3]


FORMS = {
    "bool": lambda rows: rows.astype(bool),
    "float32": lambda rows: rows.astype(np.float32),
    "float64": lambda rows: rows.astype(np.float64),
    "float16": lambda rows: rows.astype(np.float16),
    "int64": lambda rows: rows.astype(np.int64),
    "big-endian float32": lambda rows: rows.astype(">f4"),
    "big-endian float64": lambda rows: rows.astype(">f8"),
    "object": lambda rows: rows.astype(object),
    "list": lambda rows: rows.tolist(),
    "Fortran order": lambda rows: np.asfortranarray(rows),
    "Fortran order float64": lambda rows: np.asfortranarray(rows.astype(np.float64)),
    "strided": padded,
    "strided float32": lambda rows: padded(rows.astype(np.float32)),
    "reversed twice": lambda rows: rows[::-1, ::-1].copy()[::-1, ::-1],
    "writeable": lambda rows: rows.copy(),
    "data frame": lambda rows: pd.DataFrame(rows),
    "data frame float64": lambda rows: pd.DataFrame(rows.astype(np.float64)),
    "CSR int32": lambda rows: sparse.csr_matrix(rows.astype(np.float32)),
    "CSR int64": csr_with_int64_indices,
    "CSR float64": lambda rows: sparse.csr_matrix(rows.astype(np.float64)),
    "CSR uint8": lambda rows: sparse.csr_matrix(rows),
    "CSR array": lambda rows: sparse.csr_array(rows.astype(np.float32)),
    "CSR in disorder": csr_in_disorder,
    "CSC": lambda rows: sparse.csc_matrix(rows.astype(np.float32)),
    "COO": lambda rows: sparse.coo_matrix(rows.astype(np.float32)),
}


@pytest.fixture(scope="module")
def expected_answers(fitted):
    """What the uint8 rows give."""
    stream = dg.RBM(**SMALL).partial_fit(X)
    return bits(fitted.model_), bits(stream.model_), fitted.transform(X), fitted.score_samples(X)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_rows_gives_the_same_bits(form, fitted, expected_answers):
    """Would catch a wrong stride, a wrong byte order, int64 indices read as int32, duplicates of
    a CSR matrix counted once, or a path of its own for some dtype."""
    rows = FORMS[form](X)
    names = isinstance(rows, pd.DataFrame)
    assert bits(dg.RBM(**SMALL).fit(rows).model_) == expected_answers[0]
    assert bits(dg.RBM(**SMALL).partial_fit(rows).model_) == expected_answers[1]
    rbm = copy.deepcopy(fitted)
    if names:
        rows.columns = [f"x{i}" for i in range(12)]
        rbm.feature_names_in_ = rows.columns.to_numpy(object)
    assert np.array_equal(rbm.transform(rows), expected_answers[2])
    assert np.array_equal(rbm.score_samples(rows), expected_answers[3])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_memmaps_are_read_and_never_written(dtype, tmp_path, expected_answers):
    """Would catch a loader that needs writeable or whole arrays, or that changes the file."""
    rows = memmap_of(X.astype(dtype), tmp_path)
    before = (tmp_path / "rows.dat").read_bytes()
    rbm = dg.RBM(**SMALL).fit(rows)
    assert bits(rbm.model_) == expected_answers[0]
    assert np.array_equal(rbm.transform(rows), expected_answers[2])
    assert (tmp_path / "rows.dat").read_bytes() == before


@pytest.mark.parametrize(
    "form", ["float32", "float64", "writeable", "CSR int32", "CSR int64", "CSR in disorder"]
)
def test_the_data_set_is_never_modified(form):
    """Would catch a sort of CSR indices, a scaling or a draw in the caller's own array."""
    rows = FORMS[form](X)
    parts = [rows] if isinstance(rows, np.ndarray) else [rows.data, rows.indices, rows.indptr]
    before = [(id(part), part.dtype, part.tobytes()) for part in parts]
    rbm = dg.RBM(**SMALL).fit(rows)
    rbm.partial_fit(rows).transform(rows)
    rbm.score(rows)
    if isinstance(rows, np.ndarray):
        rbm.impute(rows, X == 1, n_chains=2, n_sweeps=2)
        dg.RBM(binarize=True, **SMALL).fit(rows)
    now = [rows] if isinstance(rows, np.ndarray) else [rows.data, rows.indices, rows.indptr]
    assert [(id(part), part.dtype, part.tobytes()) for part in now] == before


def test_read_only_grey_rows_work():
    """Would catch kernels that ask for writeable buffers."""
    for rows in (GREY.copy(), GREY.astype(np.float32)):
        rows.flags.writeable = False
        hidden = dg.RBM(**SMALL).fit(rows).transform(rows)
        hidden.flags.writeable = False
        rbm = dg.RBM(**SMALL).fit(rows)
        assert rbm.inverse_transform(hidden).shape == rows.shape


def test_batches_of_any_size_give_the_same_bits():
    """Would catch rows counted by the batch, or dropped, where an iterable cuts unevenly."""
    cuts = [[60], [10] * 6, [1] * 60, [7, 13, 1, 39], [59, 1], [37, 0, 23]]
    models = set()
    for sizes in cuts:
        parts = np.split(X, np.cumsum(sizes)[:-1])
        rbm = dg.RBM(**SMALL).fit(Batches(*parts))
        assert rbm.n_updates_ == 12
        assert [entry["n_rows"] for entry in rbm.history_] == [60, 60]
        models.add(bits(rbm.model_))
        for form in ("float64", "CSR int32", "Fortran order", "data frame"):
            part = dg.RBM(**SMALL).fit(Batches(*map(FORMS[form], parts)))
            models.add(bits(part.model_))
    assert len(models) == 1


def test_a_list_of_rows_is_an_array_and_not_batches(expected_answers):
    """Would catch a list of lists read as a sequence of batches."""
    assert bits(dg.RBM(**SMALL).fit(X.tolist()).model_) == expected_answers[0]
    assert bits(dg.RBM(**SMALL).fit(tuple(map(tuple, X))).model_) == expected_answers[0]


# ---------------------------------------------------------------------------------- grey values


def test_binarize_draws_states_afresh_and_repeats_by_seed():
    """Would catch grey values rounded once, or drawn from a generator that no seed fixes."""
    means = dg.RBM(**SMALL).fit(GREY)
    drawn = [dg.RBM(binarize=True, **SMALL).fit(GREY) for _ in range(2)]
    assert bits(drawn[0].model_) == bits(drawn[1].model_)
    assert bits(drawn[0].model_) != bits(means.model_)
    rounded = dg.RBM(**SMALL).fit((GREY > 0.5).astype(np.uint8))
    assert bits(drawn[0].model_) != bits(rounded.model_)
    other = dg.RBM(binarize=True, **{**SMALL, "random_state": 1}).fit(GREY)
    assert bits(other.model_) != bits(drawn[0].model_)
    whole = [dg.RBM(binarize=True, **SMALL).fit(rows) for rows in (X, X.astype(np.float32))]
    assert bits(whole[0].model_) == bits(dg.RBM(**SMALL).fit(X).model_)  # bits stay bits
    assert bits(whole[1].model_) == bits(whole[0].model_)
    assert bits(dg.RBM(binarize=True, **SMALL).fit(sparse.csr_matrix(GREY)).model_) == bits(
        drawn[0].model_
    )


class Watched(dg.CD):
    """CD that keeps the batches it is shown."""

    batches: list

    def phases(self, model, batch, state, stream, **options):
        watched.append(np.array(batch.states[0]))
        return super().phases(model, batch, state, stream, **options)


watched = []


def test_grey_values_reach_the_rule_as_means_or_as_fresh_bits():
    """Would catch grey pixels thresholded in silence, or the same draw in every epoch."""
    watched.clear()
    dg.RBM(rule=Watched(), **{**SMALL, "batch_size": 60}).fit(GREY)
    for batch in watched:
        assert batch.dtype == np.float32
        assert set(map(bytes, batch)) == set(map(bytes, GREY.astype(np.float32)))
    watched.clear()
    options = {**SMALL, "batch_size": 60, "n_epochs": 400}
    dg.RBM(rule=Watched(), binarize=True, **options).fit(np.full((60, 12), 0.3))
    draws = np.array(watched)
    assert draws.dtype == np.uint8
    assert set(np.unique(draws)) == {0, 1}
    error = np.sqrt(0.3 * 0.7 / 400)
    # of 720 cells, each a mean of 400 draws: five standard errors
    assert np.abs(draws.mean(axis=0) - 0.3).max() < 5 * error
    pair = (draws[1:] * draws[:-1].astype(float)).mean()
    assert abs(pair - 0.09) < 5 * 0.3 / np.sqrt(399 * 720)  # epochs are independent


def test_log_likelihoods_warn_about_grey_values(fitted):
    """Would catch a density of means reported as the likelihood of states."""
    with pytest.warns(UserWarning, match="not a log-likelihood; binarize"):
        grey = fitted.score_samples(GREY)
    assert np.isfinite(grey).all()
    with pytest.warns(UserWarning, match="not a log-likelihood"):
        fitted.score(sparse.csr_matrix(GREY))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.score_samples(X.astype(np.float64))
        dg.RBM(visible="gaussian", **SMALL).fit(REAL).score_samples(REAL)
