"""The installed package: names, docstrings, files, and what an import brings along."""

import ast
import ctypes
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deepgen._kernels import engine

import deepgen as dg
import deepgen.estimators

PACKAGE = Path(dg.__file__).parent
PUBLIC = {name: getattr(dg, name) for name in dg.__all__}


def run(code, tmp_path):
    """Run code in a new process, outside the checkout and without its folders on the path."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules():
    """Every pure Python module of the package, by name."""
    found = pkgutil.walk_packages([str(PACKAGE)], "deepgen.")
    return sorted(m.name for m in found if not m.name.startswith("deepgen._kernels"))


# ------------------------------------------------------------------------------------- public names


def test_the_promised_names_are_there():
    """Would catch a public name that was renamed or forgotten; others rely on these."""
    promised = {
        "RBM", "BoltzmannMachine", "Binary", "Gaussian", "Softmax", "Units", "Context", "Particles",
        "Stream", "CD", "PCD", "SGD", "Adam", "Linear", "Constant", "LogPartition", "ais",
        "reverse_ais", "exact_log_partition", "exact_log_likelihood", "free_energy", "gibbs",
        "load", "child_seed", "set_num_threads", "show_config", "DivergedError", "ModelFileError",
    }  # fmt: skip
    assert promised <= set(dg.__all__)
    assert len(set(dg.__all__)) == len(dg.__all__)
    star = {}
    exec("from deepgen import *", star)
    assert promised <= set(star)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"__version__"}))
def test_every_public_name_has_a_docstring(name):
    """Would catch a name that help() cannot explain, methods and properties included."""
    thing = PUBLIC[name]
    if inspect.ismodule(thing) or not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return
    assert inspect.getdoc(thing)
    assert "deepgen" in (thing.__module__ or "")
    if not inspect.isclass(thing):
        return
    own = [cls for cls in thing.__mro__ if cls.__module__.startswith("deepgen")]
    for cls in own:
        for attribute, value in vars(cls).items():
            function = value.fget if isinstance(value, property) else value
            function = getattr(function, "__func__", function)
            if attribute.startswith("_") or not inspect.isfunction(function):
                continue
            assert inspect.getdoc(getattr(cls, attribute)), f"{cls.__name__}.{attribute}"


@pytest.mark.parametrize("name", ["deepgen", *modules()])
def test_every_module_has_a_docstring_and_imports_alone(name):
    """Would catch a circular import that only some orders of import show."""
    module = importlib.import_module(name)
    source = Path(module.__file__).read_text()
    if source.strip() and not name.endswith("._version"):
        assert ast.get_docstring(ast.parse(source)), name


def test_parameters_in_docstrings_are_parameters():
    """Would catch a docstring that describes an argument of another time."""
    for name, thing in PUBLIC.items():
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        section = re.search(
            r"Parameters\n-{10}\n(.*?)(\n\n[A-Z]\w+\n-{3,}|\Z)", inspect.getdoc(thing) or "", re.S
        )
        if not section:
            continue
        documented = re.findall(r"^(\w[\w, ]*?)(?: :.*)?$", section.group(1), re.M)
        documented = {part.strip() for line in documented for part in line.split(",")}
        known = set(inspect.signature(thing).parameters)
        assert documented - {"See"} <= known, (name, documented - known)


def test_the_estimator_documents_each_of_its_parameters():
    """Would catch a hyper-parameter that help(RBM) does not mention."""
    text = inspect.getdoc(dg.RBM)
    for name in inspect.signature(dg.RBM).parameters:
        assert re.search(rf"^{name} : ", text, re.M), name


def test_the_version_is_one_and_well_formed():
    """Would catch a wheel that names another version than the package."""
    assert dg.__version__ == importlib.metadata.version("deepgen")
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|(a|b|rc)\d+)?", dg.__version__)
    assert dg.show_config()["version"] == dg.__version__


# ---------------------------------------------------------------------------------- files installed


def test_types_are_marked():
    """Would catch py.typed left out of the wheel."""
    assert (PACKAGE / "py.typed").is_file()


def installed_files():
    """Files of the installed distribution; build leftovers of a checkout have no RECORD."""
    for found in importlib.metadata.distributions(name="deepgen"):
        if found.read_text("RECORD") is not None:
            return found.files or []
    return []


def test_kernels_are_inside_the_package_and_nowhere_else(fresh):
    """Would catch a top-level `_kernels` in site-packages, which any package could overwrite."""
    assert fresh["kernels"] == ["deepgen._kernels.engine", None, False]
    files = installed_files()
    tops = {file.parts[0] for file in files if ".." not in file.parts} - {"__pycache__"}
    assert "_kernels" not in tops
    assert not [top for top in tops if not re.match(r"deepgen|__editable__|_*editable", top)]
    for folder in map(Path, sys.path):
        if folder.name == "site-packages":
            assert not (folder / "_kernels").exists()
            assert not list(folder.glob("_kernels.*"))


def test_no_sources_of_kernels_are_installed():
    """Would catch C files and build leftovers in a wheel (an editable install has none either)."""
    files = [str(file) for file in installed_files()]
    assert not [file for file in files if file.endswith((".c", ".h", ".pyx", ".pxi", ".o"))]


# ------------------------------------------------------------------------------------------ imports


FRESH = """
import importlib.util, json, logging, os, pickle, signal, sys, warnings
import numpy as np, scipy.sparse, scipy.special
import safetensors.numpy, threadpoolctl

def state():
    pools = threadpoolctl.threadpool_info()
    return [list(map(repr, warnings.filters)), dict(os.environ), np.geterr(),
            list(map(repr, logging.getLogger().handlers)), repr(signal.getsignal(signal.SIGINT)),
            pickle.dumps(np.random.get_state()).hex(),
            sorted((p["filepath"], p["num_threads"]) for p in pools if p["user_api"] == "blas")]

theirs = set(sys.modules)
before, watching, touched = state(), True, []

def watch(event, details):
    if watching and event in {"open", "os.fork", "os.posix_spawn", "subprocess.Popen",
                              "socket.__new__", "ctypes.dlopen"}:
        name = str(details[0]) if details else ""
        if event != "open" or not name.endswith((".py", ".pyc", ".so")):
            touched.append([event, name])

sys.dont_write_bytecode = True
sys.addaudithook(watch)
import deepgen
above = ("deepgen.estimators", "deepgen.distributed", "deepgen.plots", "deepgen.retrieval")
for name, module in deepgen._LATER.items():  # the core, all of it
    if not module.startswith(above):
        getattr(deepgen, name)
watching = False
after = state()
import deepgen._kernels.engine as engine
print(json.dumps({
    "touched": touched, "before": before, "after": after, "modules": sorted(sys.modules),
    "added": sorted(set(sys.modules) - theirs),
    "handlers": list(map(repr, logging.getLogger("deepgen").handlers)),
    "kernels": [engine.__name__, importlib.util.find_spec("_kernels"), "_kernels" in sys.modules],
}))
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """What a new process sees of `import deepgen` and of a use of all names of the core, after
    the packages that they depend on."""
    return json.loads(run(FRESH, tmp_path_factory.mktemp("fresh")))


def test_an_import_brings_no_optional_package(fresh):
    """Would catch matplotlib or pandas loaded by `import deepgen`, and a second of scikit-learn
    for those who need the core alone."""
    optional = {"matplotlib", "pandas", "torch", "mlxtend", "PIL", "pytest", "pooch"}
    slow = {"sklearn", "tqdm", "asyncio", "scipy.optimize", "scipy.stats", "scipy.linalg"}
    assert not (optional | slow) & set(fresh["added"])
    assert not {"matplotlib", "torch", "mlxtend"} & set(fresh["modules"])


def test_estimators_come_with_their_first_use(fresh):
    """Would catch names of `__all__` that are not there, or that `dir` does not tell."""
    assert "deepgen.estimators" not in fresh["modules"]
    assert set(dg.__all__) <= set(dir(dg))
    assert dg.RBM is deepgen.estimators.RBM
    assert "deepgen.plots" not in fresh["modules"]
    assert dg.plots.plot_history.__module__ == "deepgen.plots.points"
    with pytest.raises(AttributeError, match="no attribute 'RMB'"):
        dg.RMB  # noqa: B018


LIGHT = """
import sys
from deepgen.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end
parts = "sklearn", "tqdm", "scipy.sparse", "scipy.special", "asyncio", "starlette", "numpy"
print("parts:", *(part for part in parts if part in sys.modules))
"""


@pytest.mark.parametrize(
    ("argv", "parts"), [(["--version"], []), (["--help"], []), (["info", "a"], ["numpy"])]
)
def test_small_commands_start_at_once(argv, parts, tmp_path):
    """Would catch a second of imports for the version, for the help, or for what a file holds:
    scikit-learn, and the parts of SciPy, come with what needs them."""
    X = np.eye(6, dtype=np.uint8)
    dg.RBM(3, n_epochs=1, random_state=0).fit(X).save(tmp_path / "a")
    environment = {
        name: value for name, value in os.environ.items()
        if name not in ("OMP_NUM_THREADS", "DEEPGEN_CPU", "DEEPGEN_PRECISION")
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *argv], cwd=tmp_path, env=environment, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1].split() == ["parts:", *parts]


@pytest.mark.skipif(sys.platform == "win32", reason="no processor time of children there")
def test_small_commands_take_little_time(tmp_path):
    """Would catch seconds of imports that no list of modules tells. Processor time, the least of
    some runs: other work on the machine makes it longer, never shorter."""
    import resource

    dg.RBM(3, n_epochs=1, random_state=0).fit(np.eye(6, dtype=np.uint8)).save(tmp_path / "a")

    def seconds(*argv):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "deepgen", *argv], cwd=tmp_path, check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    for argv in (["--version"], ["info", "a"]):
        spent = min(seconds(*argv) for _ in range(5))
        assert spent < 0.3, f"deepgen {argv[0]} takes {spent:.2f} s"


def test_names_that_come_later_are_those_that_types_know():
    """Would catch a name that type checkers look for in one module and Python in another."""
    tree = ast.parse(Path(dg.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If)
                and getattr(node.test, "id", None) == "TYPE_CHECKING")  # fmt: skip
    known = {
        alias.name: f"deepgen.{alias.name}" if node.module == "deepgen" else node.module
        for node in block.body for alias in node.names
    }  # fmt: skip
    assert known == dg._LATER
    assert set(dg.__all__) == {*known, "__version__"}


def test_an_import_reads_code_and_nothing_else(fresh):
    """Would catch an import that loads data, asks other programs about the machine or the
    network for anything."""
    assert fresh["touched"] == []


def test_an_import_changes_nothing_global(fresh):
    """Would catch an import that seeds NumPy, filters warnings, sets threads or logs."""
    assert fresh["before"] == fresh["after"]
    assert fresh["handlers"] == []


WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("matplotlib", "pandas", "mlxtend", "torch", "pooch", "PIL"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import numpy as np, deepgen as dg
X = (np.random.default_rng(0).random((40, 6)) < 0.5).astype(np.uint8)
rbm = dg.RBM(3, n_epochs=1, random_state=0, verbose=1).fit(X)
rbm.save("a.safetensors")
assert dg.load("a.safetensors").sample(2).shape == (2, 6)
from deepgen.cli import main
try:
    main(["info", "a.safetensors"])
except SystemExit as end:
    assert not end.code, end
"""


def test_everything_but_pictures_works_without_the_optional_packages(tmp_path):
    """Would catch a dependency that is optional in name only."""
    assert "6" in run(WITHOUT, tmp_path)


def test_the_test_suite_does_not_lean_on_the_checkout():
    """Would catch tests that pass only because the working folder is on the path."""
    assert importlib.util.find_spec("_kernels") is None
    assert "deepgen._kernels.engine" in sys.modules


# ----------------------------------------------------------------------------- the built library


def elf(data):
    """Return (program header types, dynamic entries by tag) of a 64-bit ELF file."""
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<2H", data, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", data, start + i * size) for i in range(count)]
    (dynamic,) = (header for header in headers if header[0] == 2)
    place, length = dynamic[2], dynamic[5]
    entries = dict(struct.iter_unpack("<qQ", data[place : place + length // 16 * 16]))
    return {header[0] for header in headers}, entries


def test_the_kernels_are_linked_with_care():
    """Would catch a build whose tables can be written over, whose stack is not watched, or whose
    functions meet those of another library of the same names."""
    data = Path(engine.__file__).read_bytes()
    if data[:5] != b"\x7fELF\x02" or b"__asan_init" in data:
        pytest.skip("not a release build for 64-bit ELF")
    kinds, dynamic = elf(data)
    assert 0x6474E552 in kinds  # GNU_RELRO
    assert dynamic.get(30, 0) & 8 or dynamic.get(0x6FFFFFFB, 0) & 1 or 24 in dynamic  # bind now
    assert b"__stack_chk_fail" in data
    library = ctypes.CDLL(engine.__file__)
    assert hasattr(library, "PyInit_engine")
    for name in ("dg_gibbs", "dg_conditional", "dg_to_bytes", "dg_backend"):
        assert not hasattr(library, name)
