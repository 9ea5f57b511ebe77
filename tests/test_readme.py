"""Every Python block of the README runs as it stands, in order, like a reader would type it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import deepgen as dg
from deepgen.cli import main

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
BLOCKS = re.findall(r"^```(?:python|py)\n(.*?)^```", TEXT, re.M | re.S)


def test_the_readme_has_an_example():
    """Would catch an empty README, or a fence that the expression above no longer finds: then
    the tests below would pass by running nothing."""
    assert README.exists(), "the README belongs to the sdist"
    assert BLOCKS
    assert len(BLOCKS) == len(re.findall(r"^```[ \t]*(?:python|py|pycon)\b", TEXT, re.M | re.I))
    assert max(len(block.strip().splitlines()) for block in BLOCKS) >= 8
    assert sum(">>>" in block for block in BLOCKS) == 0  # prompts are not what one can paste
    assert all(count % 2 == 0 for count in [len(re.findall(r"^```", TEXT, re.M))])


def test_every_python_block_runs(tmp_path, monkeypatch):
    """Would catch an example that a renamed argument, file or function has left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    script = tmp_path / "readme.py"
    # one process for all blocks: later ones may use what earlier ones made; as a user: no filters
    script.write_text("\n".join(BLOCKS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error::DeprecationWarning", str(script)], cwd=tmp_path,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][:40])
def test_blocks_use_public_names_only(block):
    """Would catch an example that teaches private modules."""
    assert not re.search(r"\b_[a-z]\w*\b", re.sub(r"\b_ in\b|, _\b|\b_,", "", block))
    for name in re.findall(r"\bdg\.(\w+)", block):
        assert hasattr(dg, name), name


def test_commands_of_the_readme_exist():
    """Would catch a subcommand, an extra or a file that the README names and nobody has."""
    commands = " ".join(re.findall(r"^```(?:sh|bash|console|shell)\n(.*?)^```", TEXT, re.M | re.S))
    inline = " ".join(re.findall(r"`([^`\n]+)`", TEXT))
    for text in (commands, inline):
        for extra in re.findall(r"\.\[(\w+)\]", text):
            pyproject = (README.parent / "pyproject.toml").read_text()
            assert re.search(rf"^{extra} = \[", pyproject, re.M), extra
        for command in set(re.findall(r"\bdeepgen ([a-z]+)\b", text)):
            with pytest.raises(SystemExit) as end:
                main([command, "--help"])
            assert not end.value.code, command
    for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", TEXT):
        assert (README.parent / link).exists(), link
