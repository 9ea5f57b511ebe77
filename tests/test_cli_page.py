"""The page of the command line: what stands there can be typed."""

import re
import shlex
from pathlib import Path

import pytest
from cli_runs import call

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "command_line.md"


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys, serial):
    """Catches an example that a renamed flag or a refused setting has left behind. One folder for
    all: later commands read what earlier ones wrote. The demo has tests of its own."""
    text = PAGE.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    exec(compile("\n".join(blocks), "command_line.md", "exec"), {"__name__": "page"})
    lines = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)).replace("\\\n", " ")
    commands = [shlex.split(line, comments=True) for line in lines.splitlines()]
    assert len(commands) > 15
    for program, *argv in commands:
        assert program == "deepgen"
        if argv == ["demo"]:
            continue
        code, _, messages = call(capsys, *argv)
        assert (code, messages) == (0, []), argv


def test_the_page_has_every_model_and_command():
    """Catches a new model or command without a word on the page."""
    from deepgen.cli import COMMANDS
    from deepgen.cli.common.kinds import KINDS

    text = PAGE.read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"deepgen {name} " in text
    for name in KINDS:
        assert name == "rbm" or f"--model {name} " in text
