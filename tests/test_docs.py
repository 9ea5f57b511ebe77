"""The documentation runs: blocks of its pages, examples in docstrings, names of its reference."""

import doctest
import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest
from conftest import with_slow

import deepgen as dg
from deepgen import plots
from deepgen.cli import main
from deepgen.cli.common.settings import FILES, HYPER_PARAMETERS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {
    path.relative_to(DOCS).as_posix(): re.findall(
        r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S
    )
    for path in sorted(DOCS.rglob("*.md"))
}
SLOW = ("guide/deep_boltzmann.md",)


@pytest.mark.parametrize("page", with_slow([page for page in PAGES if PAGES[page]], SLOW))
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch, serial):
    """Catches a page that a renamed argument or a changed result has left behind. A page is one
    namespace: later blocks use what earlier ones made."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for number, block in enumerate(PAGES[page]):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


def test_the_guide_has_blocks():
    """Catches fences that the expression above no longer finds."""
    assert sum(bool(blocks) for page, blocks in PAGES.items() if page.startswith("guide/")) >= 7
    for path in DOCS.rglob("*.md"):
        fences = re.findall(r"^[ \t]*```[ \t]*(?:python|py|pycon)\b", path.read_text(), re.M | re.I)
        assert len(fences) == len(PAGES[path.relative_to(DOCS).as_posix()]), path


def modules():
    """Every module of the package that can be imported without starting something."""
    found = pkgutil.walk_packages(dg.__path__, "deepgen.")
    left_out = ["._kernels"] if importlib.util.find_spec("starlette") else ["._kernels", ".serving"]
    return ["deepgen", *(m.name for m in found if not any(out in m.name for out in left_out))]


def examples():
    """Examples in docstrings, by the names of what they belong to."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = [test for name in modules() for test in finder.find(importlib.import_module(name))]
    return {test.name: test for test in tests if test.examples}


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings(name, serial):
    """Catches an example in help() that no longer gives what it shows."""
    found = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(EXAMPLES[name], out=found.append)
    assert not runner.summarize(verbose=False).failed, "".join(found)


def test_docstrings_have_examples():
    """Catches a finder that finds nothing."""
    expected = {"deepgen.estimators.rbm.RBM", "deepgen.learning.monitors.LikelihoodMonitor"}
    assert expected <= set(EXAMPLES)


ROOMS = ("retrieval", "distributed")


def test_the_reference_lists_every_public_name():
    """Catches a new public name without a place in docs/api, and one that is gone."""
    for module, page in (
        (dg, "*.rst"), (dg.datasets, "data.rst"), (dg.retrieval, "retrieval.rst"),
        (dg.distributed, "distributed.rst"),
    ):  # fmt: skip
        text = "\n".join(path.read_text() for path in DOCS.glob(f"api/{page}"))
        tables = re.findall(r"^\.\. autosummary::\n(?:   :.*\n)+\n((?:   .+\n)+)", text, re.M)
        listed = {name for names in tables for name in names.split() if "." not in name}
        wanted = set(module.__all__) - {"__version__", "datasets", "plots", *ROOMS}
        assert wanted <= listed, f"add to docs/api: {sorted(wanted - listed)}"
        rooms = (dg, dg.datasets, dg.retrieval, dg.distributed)
        assert all(any(hasattr(room, name) for room in rooms) for name in listed)
    assert "automodule:: deepgen.plots\n   :members:" in (DOCS / "api/plots.rst").read_text()
    assert set(plots.__all__) - {"require_matplotlib"} == {
        name for name in vars(plots) if name.startswith("plot_")
    }


def test_the_page_of_the_command_line_is_right(capsys):
    """Catches a command, a flag or a key on the page that the program does not have."""
    text = (DOCS / "guide" / "command_line.md").read_text()
    shell = re.sub(r"\\\n\s*", "", "".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)))
    commands = re.findall(r"^deepgen (\w+)(.*?)(?:#.*)?$", shell, re.M)
    assert len(commands) >= 5
    for command, rest in commands:
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0
        known = capsys.readouterr().out
        for flag in re.findall(r"--[\w-]+", rest):
            assert flag in known, (command, flag)
    (toml,) = re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S)
    names = {setting.name for setting in (*FILES, *HYPER_PARAMETERS)}
    assert set(re.findall(r"^(\w+) =", toml, re.M)) <= names
