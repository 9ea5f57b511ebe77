"""The examples run as they stand."""

import ast
import runpy
from pathlib import Path

import pytest
from conftest import with_slow

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SLOW = [path for path in EXAMPLES if path.stem != "mixture_digits"]


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")  # plt.show() draws nothing
@pytest.mark.parametrize("path", with_slow(EXAMPLES, SLOW), ids=lambda path: path.stem)
def test_example(path, tmp_path, monkeypatch, capsys):
    """Catches an example that was left behind by a change of names."""
    if "matplotlib" in path.read_text():
        pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path))
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_a_title(path):
    """Catches a script that the gallery of the documentation cannot show."""
    title, line, *_ = ast.get_docstring(ast.parse(path.read_text())).splitlines()
    assert line == "=" * len(title)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_draws(path):
    """Catches a tile of the gallery that is a placeholder, for its script draws nothing."""
    assert "\nplt.show()\n" in path.read_text()


def test_there_are_examples():
    """Catches a folder that moved, and a test that runs nothing."""
    assert len(EXAMPLES) >= 3
