"""Rounds of measurements in turn, and how they are told."""

import statistics
import time

from bench.speed import fresh

BUDGET = 200  # seconds, for one table: no round starts after it


def in_turn(measure, names, n_rounds):
    """Measure A B C, A B C, ... within the budget; leave out what fails, and say why.

    Returns
    -------
    dict
        From name to one result a round.
    """
    results = {name: [] for name in names}
    start = time.perf_counter()
    for n_done in range(n_rounds):
        if time.perf_counter() - start > BUDGET:
            print(f"only {n_done} of {n_rounds} rounds: {BUDGET} s are over", flush=True)
            break
        for name in list(results):
            try:
                results[name].append(measure(name))
            except fresh.Failed as failure:
                print(f"without {name}: {failure}", flush=True)
                del results[name]
    return results


def spread(values):
    """Format as median (min..max)."""
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.3g} ({low:.3g}..{high:.3g})"


def ratio(theirs, ours):
    """Format the ratios of the same rounds."""
    if not theirs or not ours:
        return "-"
    return spread([peer / own for peer, own in zip(theirs, ours, strict=True)])
