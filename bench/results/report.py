"""Tables as Markdown, and their place in docs/results.md."""

import shutil
import textwrap

from bench.speed import machine
from bench.speed.fresh import PROJECT_ROOT

RESULTS = PROJECT_ROOT / "docs" / "results.md"
FIGURES = PROJECT_ROOT / "docs" / "figures"


def command(name, quick):
    """Return the command that makes a table."""
    return f"python -m bench.results {name}" + (" --quick" if quick else "")


def preamble(name, quick):
    """Return lines that say what runs, on which machine."""
    return [f"`{command(name, quick)}`", *machine.describe(machine.n_cores())]


def line(row):
    """Return one row as Markdown."""
    return "| " + " | ".join(str(cell) for cell in row) + " |"


def table(title, columns, rows, notes):
    """Return a section: title, table, notes."""
    head = [line(columns), line(["---"] * len(columns))]
    notes = [textwrap.fill(note, 120) for note in notes]
    return "\n".join([f"## {title}", "", *head, *map(line, rows), "", *notes])


def write(name, quick, text):
    """Replace the section of a table in docs/results.md, or append it."""
    mark = f"<!-- {name}{'_quick' if quick else ''} -->"
    section = "\n".join([mark, text, "", *preamble(name, quick)[1:], mark])
    section = section.replace("\n\n", f"\n\n`{command(name, quick)}`\n\n", 1)
    page = RESULTS.read_text()
    parts = page.split(mark)
    if len(parts) == 3:
        page = parts[0] + section + parts[2]
    else:
        page = page.rstrip("\n") + "\n\n" + section + "\n"
    RESULTS.write_text(page)


def keep_pictures(name, folder):
    """Copy the pictures of a table beside the documentation's pages."""
    FIGURES.mkdir(exist_ok=True)
    for picture in sorted(folder.glob("*.png")):
        shutil.copy(picture, FIGURES / f"{name}_{picture.name}")


def spread(values, digits=2):
    """Return mean (standard deviation) of a few values."""
    values = list(values)
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.{digits}f} ({deviation:.{digits}f})"
