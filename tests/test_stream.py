"""Streams: every random number is a function of who asks."""

import numpy as np
import pytest
from conftest import FIVE_SIGMA_PROBABILITY, assert_mean, assert_same_bits, assert_within_errors
from scipy import stats

import deepgen as dg
from deepgen.runtime import stream as stream_module
from deepgen.runtime.stream import DATA, SAMPLE, SHUFFLE, purpose, seed_of

KINDS = ("PARTICLES", "DATA", "BINARIZE", "SHUFFLE", "SAMPLE", "IMPUTE", "ANNEAL", "REVERSE",
         "START")  # fmt: skip


# ------------------------------------------------------------------------------------- seeds


def test_seeds_are_stable():
    """Catches a change of the seeding: published results would no longer be reproduced."""
    assert dg.Stream.from_random_state(0).key == 0x568113197BEC7AD1
    assert dg.child_seed(0, "score") == 0x54116147
    stream = dg.Stream(1, 2).child("rule")
    assert (stream.key, stream.position) == (0x38672BEF4F4A4C18, 2)
    words = dg.Stream(1, 2).words(1, 2, DATA, first_row=3)
    np.testing.assert_array_equal(words, [[0x061B969E, 0x50003071]])


def test_random_states_of_scikit_learn_are_seeds():
    """Catches a RandomState that is not advanced, so that two fits share their draws."""
    assert seed_of(5) == seed_of(np.int64(5)) == 5
    for make in (np.random.RandomState, np.random.default_rng):
        source, same = make(3), make(3)
        first, second = seed_of(source), seed_of(source)
        assert first != second
        assert seed_of(same) == first
        assert isinstance(first, int)
    assert seed_of(None) != seed_of(None)
    for wrong in (-1, True, 0.5, "seed", [1]):
        with pytest.raises(ValueError, match="random_state must"):
            seed_of(wrong)


def test_child_seeds_are_independent_seeds():
    """Catches layers of a stack that are trained with the same random numbers."""
    seeds = {dg.child_seed(seed, name) for seed in range(20) for name in ("a", "b", 0, 1, "01")}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert dg.child_seed(3, "a") == dg.child_seed(3, "a")


# ----------------------------------------------------------------------------------- streams


def test_streams_children_and_positions_do_not_meet():
    """Catches two sites that share a draw: children, positions, kinds and rows all differ."""
    stream = dg.Stream.from_random_state(1)
    draws = [
        stream.words(2, 64, DATA),
        stream.words(2, 64, SAMPLE),
        stream.advanced(1).words(2, 64, DATA),
        stream.child("a").words(2, 64, DATA),
        stream.child("b").words(2, 64, DATA),
        stream.child("a").child("a").words(2, 64, DATA),
        stream.child(0).words(2, 64, DATA),
        dg.Stream.from_random_state(2).words(2, 64, DATA),
        stream.words(2, 64, DATA, first_row=2),
    ]
    rows = np.concatenate(draws)
    assert len(np.unique(rows)) > 0.99 * rows.size
    assert stream.advanced(3).advanced(4) == stream.advanced(7)
    assert stream.child("a") == stream.child("a")
    assert stream.advanced(5).child("a").position == stream.position + 5


def test_kinds_of_sites_have_numbers_of_their_own():
    """Catches particles that share draws with the data, by one number for two kinds."""
    numbers = [getattr(stream_module, name) for name in KINDS]
    assert len(set(numbers)) == len(KINDS)
    purposes = {purpose(kind, layer, temperature)
                for kind in numbers for layer in (0, 1, 63) for temperature in (0, 1, 65_535)}
    assert len(purposes) == 9 * len(KINDS)
    assert max(purposes) < 2**32


def test_pieces_of_rows_equal_the_whole():
    """Catches words that depend on how many rows or columns were asked for."""
    stream = dg.Stream(7, 9)
    whole = stream.words(10, 37, DATA)
    assert_same_bits(stream.words(4, 37, DATA, first_row=3), whole[3:7].copy())
    assert_same_bits(stream.words(10, 5, DATA), whole[:, :5].copy())


def test_uniforms_are_uniform_and_independent():
    """Catches a lost bit, and columns, rows or steps that are related."""
    stream = dg.Stream.from_random_state(3)
    u = stream.uniform(2_000, 8, DATA).astype(np.float64)
    assert stats.kstest(u.ravel(), "uniform").pvalue > FIVE_SIGMA_PROBABILITY
    centred = (u - 0.5) * np.sqrt(12.0)
    others = [stream.advanced(1), stream.child("a")]
    others = [(x.uniform(2_000, 8, DATA) - 0.5) * np.sqrt(12.0) for x in others]
    for other in (centred[:, ::-1][:, :4], *[x[:, :4] for x in others]):
        assert_mean(centred[:, :4] * other, 0.0)
    assert_mean(centred[1:] * centred[:-1], 0.0)


# -------------------------------------------------------------------------------- permutations


@pytest.mark.parametrize("n", [0, 1, 2, 1_000])
def test_permutations_are_permutations(n):
    """Catches an epoch that presents some rows twice and others never."""
    np.testing.assert_array_equal(np.sort(dg.Stream(1).permutation(n, SHUFFLE)), np.arange(n))


def test_permutations_differ_by_position_row_and_key():
    """Catches an order that is the same in each epoch or each block."""
    stream = dg.Stream(1)
    orders = [stream.permutation(50, SHUFFLE), stream.advanced(1).permutation(50, SHUFFLE),
              stream.permutation(50, SHUFFLE, row=1), dg.Stream(2).permutation(50, SHUFFLE)]
    assert len({order.tobytes() for order in orders}) == 4
    np.testing.assert_array_equal(orders[0], dg.Stream(1).permutation(50, SHUFFLE))


def test_permutations_are_fair():
    """Catches a shuffle that favours the first rows: each of 6 orders of 3 is as likely."""
    n = 6_000
    orders = [tuple(dg.Stream(5, step).permutation(3, SHUFFLE)) for step in range(n)]
    for order in set(orders):
        share = orders.count(order) / n
        assert_within_errors(share, 1.0 / 6.0, np.sqrt(5.0 / 36.0 / n))


def test_generators_are_seeded_by_name():
    """Catches initial weights that are the same for two layers."""
    stream = dg.Stream(1)
    one, same, other = (stream.generator(name).random(5) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()
