"""A hundred digits as a hand draws them, read by the demo's default models."""

import drawn_digits
import numpy as np
import pytest
from demo_models import silent

from deepgen.demo.machines import Recipe, page_models
from deepgen.demo.strokes import picture_of_strokes


@pytest.mark.slow
def test_the_default_models_read_drawn_digits(tmp_path):
    """Would catch a pen, a scaling or a training by which digits are read that MNIST's writers have
    drawn, and not those of who sits before the page. The drawings were there before the models."""
    models = page_models(tmp_path, Recipe(), silent)
    digits, drawings = drawn_digits.load()
    rows = np.array([picture_of_strokes(strokes) for strokes in drawings])
    right = models.classifier.predict(rows) == digits
    wrong = [(place, digits[place]) for place in np.flatnonzero(~right)]
    assert right.sum() >= 95, wrong
    assert models.facts["n_right"] >= 950
