"""The report of the tour: one page of HTML beside its pictures."""

from html import escape

from deepgen._version import __version__
from deepgen.demo.words import bracket_in_words, comparison_in_words, with_error
from deepgen.io.atomic import write_atomically

NAME = "index.html"
STYLE = """
:root { color-scheme: light dark; --ground: #f3f5f7; --card: #fff; --ink: #16202a; --muted: #55626f;
  --line: #cfd7df; }
@media (prefers-color-scheme: dark) { :root { --ground: #11161b; --card: #1a2129; --ink: #e8eef4;
  --muted: #9eabb8; --line: #35404b; } }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); }
figure, .numbers { margin: 0; padding: 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; }
.wide { grid-column: 1 / -1; }
img { display: block; width: 100%; border-radius: .4rem; background: #fff; }
figcaption, .note, footer { color: var(--muted); font-size: .9rem; }
.numbers { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th[scope="rowgroup"] { padding-top: 1rem; } th[scope="row"] { width: 11rem; font-weight: 400; }
td { font-variant-numeric: tabular-nums; }
"""


def write_report(folder, result, meaning):
    """Write the page; it shows the pictures that stand beside it, and loads nothing else.

    Parameters
    ----------
    folder : Path
    result : dict
        What :func:`deepgen.demo.tour.run_demo` returns, without files.
    meaning : dict of str to str
        Names of files and captions, in their order; those that end with ``.png`` are shown.

    Returns
    -------
    Path
    """
    path = folder / NAME
    write_atomically(path, _page(result, meaning).encode())
    return path


def _page(result, meaning):
    figures = "\n".join(
        f'<figure{_class_of(name)}><img src="{name}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for name, caption in meaning.items()
        if name.endswith(".png")
    )
    files = ", ".join(name for name in meaning if name.endswith(".safetensors"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>deepgen demo</title>
<style>{STYLE}</style>
</head>
<body>
<h1>What three models learned from {result["n_train"]:,} digits</h1>
<p>Judged on {result["n_held_out"]:,} digits of MNIST that none of them saw.
Seed {result["seed"]}, {result["seconds"]["total"]:.0f} s.
± is a standard error over held-out digits.</p>
<div class="numbers"><table>
{_tables(result)}
</table>
<p class="note">Completions: {escape(comparison_in_words(result["completion_error"]["dbm"]))}.</p>
</div>
<main>
{figures}
</main>
<footer><p>deepgen {__version__}. Beside this page: {files}. Draw a digit yourself:
<code>deepgen demo --web</code>.</p></footer>
</body>
</html>
"""


def _class_of(name):
    """Return the class of pictures that are wider than high."""
    wide = ("reconstructions.png", "completions.png", "autoencoder.png")
    return ' class="wide"' if name in wide else ""


def _tables(result):
    """Return the numbers as groups of rows, a question over its answers."""
    likelihood, completed = result["log_likelihood"], result["completion_error"]
    squared = result["squared_error"]
    groups = {
        "Log-likelihood of a digit, in nats (higher is better)": {
            "independent pixels": f"{likelihood['independent_pixels']:.1f}",
            "RBM": f"{with_error(likelihood, 1)} ({bracket_in_words(likelihood)})",
        },
        "Root mean square error of a pixel of the lower half, completed (lower is better)": {
            "column means": with_error(completed["column_means"], 3),
            "RBM": with_error(completed["rbm"], 3),
            "DBM": with_error(completed["dbm"], 3),
        },
        f"Squared error of a digit from {result['n_code']} numbers (lower is better)": {
            "PCA": with_error(squared["pca"], 2),
            "autoencoder": with_error(squared["autoencoder"], 2),
        },
    }
    return "\n".join(
        f'<tbody><tr><th colspan="2" scope="rowgroup">{escape(question)}</th></tr>'
        + "".join(
            f'<tr><th scope="row">{escape(model)}</th><td>{escape(answer)}</td></tr>'
            for model, answer in answers.items()
        )
        + "</tbody>"
        for question, answers in groups.items()
    )
