"""Numbers of the tour as people read them."""

import math


def with_error(number, digits):
    """Return a number with its standard error as text."""
    error = number["standard_error"]
    text = f"{number['value']:.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {error:.{digits}f}"


def bracket_in_words(likelihood):
    """Return how sure log Z is, in words."""
    lower, upper = likelihood["lower"], likelihood["upper"]
    if likelihood["method"] == "exact":
        return "exact"
    how = f"from {lower:.1f} to {upper:.1f}" if math.isfinite(upper) else f"over {lower:.1f}"
    return f"{how}, annealed importance sampling both ways"


def comparison_in_words(error):
    """Return which of both machines completes better, if any: two standard errors apart."""
    less, its = error["less_than_first"], error["its_standard_error"]
    if math.isnan(its) or abs(less) < 2 * its:
        return "on the same digits, both machines tie within two standard errors"
    better, worse = ("DBM", "RBM") if less > 0 else ("RBM", "DBM")
    apart = f"{abs(less) / its:.1f} standard errors"
    return f"on the same digits, the {better} is better than the {worse} by {apart}"
