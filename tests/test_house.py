"""The house stands: storeys without a way up, no circle, narrow signatures, folders that say what
they are. Read from the source alone; each rule is shown to fail on a small source that breaks it.
"""

import ast
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import deepgen as dg

PACKAGE = Path(dg.__file__).parent
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

# From the ground up. A room is a file or a folder of the package; it imports rooms of lower
# storeys only, so two rooms of one storey know nothing of each other.
STOREYS = (
    ("_kernels",),
    ("checks", "errors", "_version"),
    ("runtime",),
    ("rows",),
    ("layers",),
    ("models",),
    ("inference",),
    ("networks",),
    ("likelihood",),
    ("io",),
    ("learning",),
    ("stacks",),
    ("estimators",),
    ("datasets", "retrieval", "distributed"),
    ("plots",),
    ("serving",),
    ("demo",),
    ("cli",),
    ("deepgen", "__main__"),  # the roof: `deepgen/__init__.py` and the program
)
STOREY_OF = {room: storey for storey, rooms in enumerate(STOREYS) for room in rooms}
WIDEST = 8  # parameters of a signature

# Attributes by which other libraries tell arrays, tables and estimators apart, and versions.
FOREIGN = {
    "__array__", "__iter__", "clear_controlling_thread", "columns", "dtype", "get_params",
    "predict", "predict_proba", "score_samples", "shape", "transform",
}  # fmt: skip

# Methods that an object may lack: of a callback (the table in ``learning/hooks.py``), and what
# a fitted estimator can do, which a command asks of any.
MAY_BE_MISSING = {
    "deepgen.cli.common.models: ?",
    "deepgen.cli.common.models: log_partition",
    "deepgen.learning.hooks: ?",
    "deepgen.learning.hooks: is_for",
    "deepgen.learning.hooks: restore",
    "deepgen.learning.hooks: state",
}
CALLED_TWICE = {"has_openmp"}  # a fact of the build, no kernel


# ------------------------------------------------------------------------------ reading the source


def sources_of(folder):
    """Sources of a package by module: ``deepgen.rows`` is ``rows/__init__.py``."""
    sources = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text(encoding="utf-8")
    return sources


def trees_of(sources):
    """Syntax trees by module."""
    return {module: ast.parse(source) for module, source in sources.items()}


@pytest.fixture(scope="module")
def trees():
    """Syntax trees of the package, without the kernels."""
    return trees_of({m: s for m, s in sources_of(PACKAGE).items() if "._kernels" not in m})


def imports_of(tree, modules):
    """What a module imports of the package, wherever in the file: pairs of a module and a name.

    ``from deepgen import plots`` is an import of the folder ``deepgen.plots``, whole: its name is
    None. So is every module of the kernels, which are compiled.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: write the whole name, not dots"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner in modules or inner.startswith("deepgen._kernels")
                found.append((inner, None) if is_module else (node.module, alias.name))
    return [(module, name) for module, name in found if module.split(".")[0] == "deepgen"]


def room_of(module):
    """The room of a module: the first part of its name below the package, or the roof."""
    _, _, below = module.partition(".")
    return below.split(".")[0] or "deepgen"


# ------------------------------------------------------------------------------------------ rules


def imports_that_do_not_go_down(trees):
    """Imports from another room that is not on a lower storey."""
    return [
        f"{module} imports {other}"
        for module, tree in trees.items()
        for other, _ in imports_of(tree, trees)
        if room_of(module) != room_of(other)
        and STOREY_OF[room_of(module)] <= STOREY_OF[room_of(other)]
    ]


def heavy_imports(trees):
    """Imports of scikit-learn below the estimators, of matplotlib below the pictures, and of a web
    server below the service."""
    first = {"sklearn": STOREY_OF["estimators"], "matplotlib": STOREY_OF["plots"]}
    first |= {"starlette": STOREY_OF["serving"], "uvicorn": STOREY_OF["serving"]}
    return {
        f"{module} imports {name}"
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
        )
        if STOREY_OF[room_of(module)] < first.get(name.split(".")[0], 0)
    }


def circles(trees):
    """In each folder, a way of imports that ends where it began; a folder in it counts as one.

    The folder's own ``__init__.py`` stands above its files: it re-exports them.
    """
    edges = {}
    for module, tree in trees.items():
        for other, _ in imports_of(tree, trees):
            here, there = module.split("."), other.split(".")
            depth = 0
            while depth < min(len(here), len(there)) and here[depth] == there[depth]:
                depth += 1
            one, two = ((*path, "__init__")[depth] for path in (here, there))
            if one != two:
                edges.setdefault(".".join(here[:depth]), {}).setdefault(one, set()).add(two)
    found = []
    for folder, below in edges.items():
        try:
            TopologicalSorter(below).prepare()
        except CycleError as error:
            found.append(f"{folder}: {' -> '.join(error.args[1])}")
    return found


def is_private(name):
    """Tell whether a name is its file's own: ``_cut``, but not ``__version__``."""
    return name is not None and name.startswith("_") and not name.startswith("__")


def private_imports(trees):
    """Names with a leading underscore that a file takes from another one: imported by name, or
    as an attribute of an imported module."""
    found = set()
    for module, tree in trees.items():
        imported = imports_of(tree, trees)
        named = {(name, other) for other, name in imported if is_private(name)}
        found |= {f"{module} takes {name} of {other}" for name, other in named}
        modules = {other.split(".")[-1]: other for other, name in imported if name is None}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                other = modules.get(ast.unparse(node.value))
                found |= {f"{module} takes {node.attr} of {other}"} if other else set()
    return found


def signatures(tree):
    """Functions and lambdas of a module by qualified name, methods without ``self``."""
    found = {}

    def visit(node, prefix, in_class):
        for child in ast.iter_child_nodes(node):
            inner, name = prefix, prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner = f"{prefix}{getattr(child, 'name', 'lambda')}."
                static = any(
                    getattr(decorator, "id", None) == "staticmethod"
                    for decorator in getattr(child, "decorator_list", ())
                )
                arguments = child.args
                names = [*arguments.posonlyargs, *arguments.args][in_class and not static :]
                found[inner[:-1]] = len(names) + len(arguments.kwonlyargs)
                visit(child, inner, False)
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.", True)
            else:
                visit(child, name, in_class)

    visit(tree, "", False)
    return found


def wide_signatures(trees):
    """Functions with more parameters than a reader can hold; constructors of estimators apart,
    where each hyper-parameter is one."""
    return {
        f"{module}.{name}"
        for module, tree in trees.items()
        for name, n_parameters in signatures(tree).items()
        if n_parameters > WIDEST
        and not (room_of(module) == "estimators" and name.endswith(".__init__"))
    }


def roles_asked_by_name(trees):
    """Places that ask ``hasattr`` for a role that the library could name with a ``Protocol``.

    Left out: what other libraries define (functions of ``os``, attributes of arrays) and results
    of a fit, whose names end with an underscore.
    """
    found = set()
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", None) == "hasattr"):
                continue
            thing, attribute = node.args
            name = getattr(attribute, "value", None) if isinstance(attribute, ast.Constant) else "?"
            if getattr(thing, "id", None) != "os" and name not in FOREIGN and name[-1] != "_":
                found.add(f"{module}: {name}")
    return found


def kernels_called_twice(trees):
    """Functions of the engine that more than one module calls."""
    callers = {}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            is_engine = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "engine"
            if is_engine and not node.attr[0].isupper():  # Chain and Workspace are data
                callers.setdefault(node.attr, set()).add(module)
    return {name for name, modules in callers.items() if len(modules) > 1}


# ------------------------------------------------------------------------------------ the package


def test_every_room_has_a_storey(trees):
    """Would catch a new folder or file at the top that nobody has given a place."""
    assert {room_of(module) for module in trees} == set(STOREY_OF) - {"_kernels"}


def test_imports_go_down(trees):
    """Would catch estimators in the core, or a sampler that knows its trainer."""
    assert imports_that_do_not_go_down(trees) == []


def test_the_core_needs_no_scikit_learn(trees):
    """Would catch a second of imports, or pictures, for those who need the core alone."""
    assert heavy_imports(trees) == set()


def test_there_is_no_circle(trees):
    """Would catch two files that can only be read, and changed, together."""
    assert circles(trees) == []


def test_private_names_stay_in_their_file(trees):
    """Would catch a file that leans on what another one is free to change."""
    assert not private_imports(trees)


def test_signatures_are_narrow(trees):
    """Would catch a function of a dozen parameters: a noun is missing there."""
    assert not wide_signatures(trees)


def test_roles_are_protocols(trees):
    """Would catch "is it an optimizer?" answered by the name of one method, in each place anew."""
    assert roles_asked_by_name(trees) == MAY_BE_MISSING


def test_each_kernel_is_called_from_one_module(trees):
    """Would catch a second place that validates and allocates for a kernel (docs/kernels.md)."""
    assert kernels_called_twice(trees) == CALLED_TWICE


def test_every_folder_says_what_it_is():
    """Would catch a folder without ``__init__.py``, or one whose docstring says nothing."""
    folders = {path.parent for path in PACKAGE.rglob("*.py") if path.parent.name != "_kernels"}
    for folder in folders:
        source = (folder / "__init__.py").read_text(encoding="utf-8")
        assert len(ast.get_docstring(ast.parse(source)) or "") > 20, folder


def test_every_folder_is_packed():
    """Would catch a new folder that a wheel would lack, and one that is gone."""
    config = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent for path in PACKAGE.rglob("*.py") if path.parent.name != "_kernels"}
    names = {".".join(folder.relative_to(PACKAGE.parent).parts) for folder in folders}
    assert set(config["packages"]) == names | {"deepgen._kernels"}
    assert len(config["packages"]) == len(set(config["packages"]))


# ---------------------------------------------------------------------------- each rule can fail


def broken(**files):
    """Trees of a small package: ``models__network`` is the module ``deepgen.models.network``."""
    return trees_of(
        {f"deepgen.{name.replace('__', '.')}": source for name, source in files.items()}
    )


@pytest.mark.parametrize(
    "source",
    [
        "from deepgen.learning.loop import TrainingLoop",
        "import deepgen.learning.loop",
        "def later():\n    from deepgen.learning import loop",
        "from deepgen import estimators",
        "from deepgen import RBM",
        "import deepgen as dg",
    ],
)
def test_a_way_up_is_seen(source):
    """Would catch a reader of imports that overlooks a way of writing them."""
    others = {"learning": "", "learning__loop": "", "estimators": "", "rows": ""}
    trees = broken(models__network=source, **others)
    assert len(imports_that_do_not_go_down(trees)) == 1
    assert imports_that_do_not_go_down(broken(models__network="import numpy", **others)) == []
    down = "from deepgen import rows\nfrom deepgen._kernels import engine"
    assert imports_that_do_not_go_down(broken(models__network=down, **others)) == []


def test_heavy_imports_are_seen():
    """Would catch a rule that overlooks a way of writing imports."""
    assert len(heavy_imports(broken(rows="import sklearn.base", io="import matplotlib"))) == 2
    assert heavy_imports(broken(rows="def f():\n    from sklearn.base import clone"))
    assert not heavy_imports(broken(estimators="import sklearn", plots="import matplotlib"))


def test_a_neighbour_is_not_below():
    """Would catch a comparison that lets rooms of one storey import each other."""
    trees = broken(retrieval="from deepgen import datasets", datasets="")
    assert imports_that_do_not_go_down(trees) == ["deepgen.retrieval imports deepgen.datasets"]


def test_circles_are_seen():
    """Would catch circles that pass through a function, a folder or its own ``__init__.py``."""
    in_function = "def f():\n    from deepgen.rows.survey import survey"
    assert circles(broken(rows__survey="import deepgen.rows.states", rows__states=in_function))
    own_folder = broken(
        models="from deepgen.models.network import Network", models__network="",
        models__mixture="from deepgen.models import Network",
    )  # fmt: skip
    assert circles(own_folder) == []
    own_folder["deepgen.models.network"] = ast.parse("from deepgen.models import Network")
    assert circles(own_folder)
    two_folders = broken(
        io__schemas__machines="from deepgen.io.trees import tree", io__trees="",
        io__schemas__schema="", io__files="from deepgen.io.schemas.schema import Schema",
    )  # fmt: skip
    assert circles(two_folders) == []
    two_folders["deepgen.io.trees"] = ast.parse("from deepgen.io.schemas.schema import Schema")
    (circle,) = circles(two_folders)
    assert circle.startswith("deepgen.io: ")
    assert "schemas" in circle


def test_private_imports_are_seen():
    """Would catch a rule that overlooks the name, or that takes `_kernels` for one."""
    allowed = "from deepgen._kernels import engine\nfrom deepgen import __version__\nengine.run()"
    for source in (
        "from deepgen.rows.states import _cut",
        "from deepgen.rows import states\nstates._cut()",
    ):
        trees = broken(rows__states="def _cut(): pass", rows__survey=source, rows=allowed)
        assert private_imports(trees) == {"deepgen.rows.survey takes _cut of deepgen.rows.states"}


@pytest.mark.parametrize(
    ("source", "wide"),
    [
        ("def f(a, b, c, d, /, e, f, *, g, h, i): pass", {"f"}),
        ("def f(a, b, c, d, /, e, f, *, g, h): pass", set()),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h): pass", set()),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h, i): pass", {"A.f"}),
        ("class A:\n    @staticmethod\n    def f(a, b, c, d, e, f, g, h, i): pass", {"A.f"}),
        ("def g():\n    def f(a, b, c, d, e, f, g, h, i): pass", {"g.f"}),
        ("class A:\n    def __init__(self, a, b, c, d, e, f, g, h, i): pass", {"A.__init__"}),
    ],
)
def test_wide_signatures_are_seen(source, wide):
    """Would catch a count that forgets a kind of parameter, or counts ``self``."""
    core, estimators = broken(rows__states=source), broken(estimators__rbm=source)
    assert wide_signatures(core) == {f"deepgen.rows.states.{name}" for name in wide}
    wide = wide - {"A.__init__"}
    assert wide_signatures(estimators) == {f"deepgen.estimators.rbm.{name}" for name in wide}


def test_roles_asked_by_name_are_seen():
    """Would catch a rule that lets everything pass, or that forbids to ask for an array."""
    source = """
hasattr(os, "fork"), hasattr(X, "dtype"), hasattr(self, "model_")
hasattr(rule, "phases")
hasattr(rule, name)
"""
    found = roles_asked_by_name(broken(learning__rules=source))
    assert found == {"deepgen.learning.rules: phases", "deepgen.learning.rules: ?"}


def test_a_second_caller_of_a_kernel_is_seen():
    """Would catch a rule that overlooks calls."""
    source = "engine.gibbs(chain)\nengine.backend()"
    trees = broken(layers__passes=source, inference__gibbs="engine.gibbs(chain)")
    assert kernels_called_twice(trees) == {"gibbs"}
