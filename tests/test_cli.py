"""The command ``deepgen``: what it prints, writes and returns. The demo has a file of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest

import deepgen as dg
from deepgen.cli import demo as demo_command
from deepgen.cli import main
from deepgen.io import model_files


@pytest.fixture
def file(tmp_path):
    """A saved RBM of 3 Gaussian and 2 binary units, with -2.5 as its largest weight."""
    W = np.zeros((3, 2))
    W[1, 0], W[2, 1] = 1.0, -2.5
    path = tmp_path / "small.safetensors"
    dg.RBM.from_model(dg.BoltzmannMachine([dg.Gaussian(3), dg.Binary(2)], [W])).save(path)
    return path


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
