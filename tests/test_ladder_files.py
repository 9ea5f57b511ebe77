"""Ladders of a fit: are they kept, in files too, and do runs go on with them?"""

from pathlib import Path

import numpy as np
import pytest
from conftest import FIVE_SIGMA, random_model
from stops import At, Stop, fail
from tempered_models import KINDS, two_modes

import deepgen as dg
from deepgen.inference.trajectories import interpolated
from deepgen.io import model_files

pytestmark = pytest.mark.usefixtures("serial")


def fitted(ladder, **settings):
    """An RBM of bars and stripes whose run a ladder has followed."""
    X = dg.datasets.sample_bars_and_stripes(300, 3, random_state=0)
    return learner(ladder).fit(X, **settings)


def learner(*callbacks):
    """An RBM that learns quickly, in 120 updates of 20 rows."""
    return dg.RBM(
        8, n_epochs=8, batch_size=20, learning_rate=dg.Linear(1.0, 0.0), random_state=0,
        callbacks=callbacks, n_threads=1,
    )  # fmt: skip


def test_a_fit_keeps_its_ladder():
    """Catches rungs of the end alone, a first rung with weights, models that change with the
    run; and an estimate of log Z by them that is not the exact one."""
    ladder = dg.ModelLadder(5)
    with pytest.raises(ValueError, match="a ladder needs the models of a run, got none yet"):
        ladder.sampler()
    model = fitted(ladder).model_
    assert 5 <= len(ladder.models) <= 10
    size = [np.abs(m.weights[0]).mean() for m in ladder.models]
    assert size[0] == 0.0
    assert size[1] < 0.5 * size[-1]
    found = dg.log_partition_by_ladder(model, ladder.sampler(), random_state=0)
    error = (found.upper - found.lower) / 6.0
    value = dg.exact_log_partition(model).value
    assert abs(found.value - value) < FIVE_SIGMA * error + 1e-4
    with pytest.raises(TypeError, match="ModelLadder needs a run of a Boltzmann machine"):
        dg.Autoencoder(2, n_epochs=1, callbacks=[dg.ModelLadder()]).fit(np.eye(20, 6))


@pytest.mark.parametrize("case", KINDS, ids=lambda case: "-".join(case[0]))
def test_a_file_of_a_ladder_gives_its_models(tmp_path, case):
    """Catches models that change their order or their precisions in a file, and one that an
    estimator is made of."""
    model, path = random_model(case[0], 5, case[1]), tmp_path / "ladder.safetensors"
    first = dg.independent(model)
    ladder = dg.TrajectoryTempering([first, interpolated(first, model, 0.5), model])
    dg.save_ladder(ladder, path)
    found = dg.load_ladder(path)
    assert repr(found) == repr(ladder)
    assert [m.layers[-1].form for m in found.models] == [model.layers[-1].form] * 3
    with pytest.raises(dg.ModelFileError, match=r"a ladder of models.*dg.load_ladder"):
        dg.load(path)


def test_what_is_no_file_of_a_ladder_is_refused(tmp_path):
    """Catches a model that is taken for a ladder, and numbers that could not be loaded again."""
    path, model = tmp_path / "m.safetensors", two_modes(1.0)
    dg.RBM.from_model(model).save(path)
    with pytest.raises(dg.ModelFileError, match=r"no ladder of models; read it with dg.load"):
        dg.load_ladder(path)
    with pytest.raises(TypeError, match=r"ladder must be a dg.TrajectoryTempering"):
        dg.save_ladder(dg.ModelLadder(), path)
    huge = model.replace(weights=[np.full((60, 1), 3e38)])
    with pytest.raises(ValueError, match=r"parameters so large that fields overflow"):
        dg.save_ladder(dg.TrajectoryTempering([huge]), path)
    with pytest.raises(ValueError, match=r"at most 1,000 models, got 1,001; keep every other"):
        dg.save_ladder(dg.TrajectoryTempering([model] * 1_001), path)
    config, tensors = model_files.describe(dg.TrajectoryTempering([model]))
    for number in (0, -1, True, 1_001, 2):
        header = {"format_version": 2, **config, "n_models": number, "extra": {}}
        model_files.write(path, header, tensors)
        with pytest.raises(dg.ModelFileError, match=r"n_models is not valid|missing or unknown"):
            dg.load_ladder(path)


def test_the_file_of_a_ladder_of_version_2_loads():
    """Catches a change of the format: files of every version load in later ones."""
    ladder = dg.load_ladder(Path(__file__).parent / "data" / "ladder_v2.safetensors")
    assert [m.weights[0][1, 2] for m in ladder.models] == [0.0, 0.25, 0.5]
    np.testing.assert_array_equal(ladder.models[2].layers[0].bias, [0.5, -0.25, 1.0, 2.0])


def test_a_ladder_goes_on_from_a_checkpoint(tmp_path):
    """Catches a resumed run whose ladder begins in its middle."""
    whole = dg.ModelLadder(4)
    fitted(whole)
    part, path = dg.ModelLadder(4), tmp_path / "run"
    X = dg.datasets.sample_bars_and_stripes(300, 3, random_state=0)
    with pytest.raises(Stop):
        learner(part, dg.Checkpoint(path, minutes=None), At(fail, update=50)).fit(X)
    again = dg.ModelLadder(4)
    fitted(again, resume=path)
    assert len(again.models) == len(whole.models)
    for one, other in zip(again.models, whole.models, strict=True):
        np.testing.assert_array_equal(one.weights[0], other.weights[0])
