"""Try changed files on everything that reads files: a result or one clear error, and nothing else.

    python tools/fuzz.py --seconds 3600 --out findings

Needs Linux and deepgen, installed. Model files, checkpoints, arrays, sparse matrices, tables,
ratings and TOML are changed at random, bytes and values, those of model files with a checksum that
fits. A file that reaches a line of deepgen which none before it reached becomes a start for further
changes.

Each file is read in a child process that dies for it. A finding is a crash, an exception that the
reader does not promise, more than `HANGS` seconds, or memory of more than ten times the file. It is
written to the folder of `--out`, with what happened; the exit code is 1 where there is any.
"""

import argparse
import contextlib
import copy
import io
import json
import os
import pickle
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np
from scipy import sparse

import deepgen as dg
from deepgen.cli import main as command
from deepgen.cli.common.errors import CommandError
from deepgen.cli.common.rows import read_rows
from deepgen.cli.common.settings import KNOWN, check_together, read_config
from deepgen.cli.common.triples import read_ratings, read_titles
from deepgen.io import model_files

HANGS = 20.0  # seconds
TIMES, SLACK = 10, 64 * 2**20  # of memory: times the file, and what Python takes for itself
AT_ONCE = 50  # files that one child reads, where none of them ends it
PACKAGE = str(Path(dg.__file__).parent)

NUMBERS = [
    0, -1, 1, 2, 7, 255, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, 10**8, 10**30, -(2**63), 0.5, 1e38,
    1e308, 1e-320, float("nan"), float("inf"), True, None, "", "4", "csr", [], {}, [[]], "\ud800",
]  # fmt: skip
WORDS = [
    b"[", b"]", b"{", b"}", b",", b";", b"\t", b"\n", b"\r\n", b'"', b"'", b"nan", b"-inf",
    b"1e999", b"9" * 400, b"\xef\xbb\xbf", b"\xff", b"\0", b"#", b"=", b"n_hidden", b"true",
    b"0x1", b"__import__", "²".encode(), b"1_0", b"[[a]]", b'"""', b"1979-05-27",
]  # fmt: skip


# --- what is read ---------------------------------------------------------------------------------


def rows():
    """Rows that checkpoints of the campaign were made with."""
    return (np.random.default_rng(0).random((40, 6)) < 0.4).astype(np.uint8)


def machine_for_fit(callbacks=()):
    return dg.RBM(4, batch_size=10, n_epochs=3, random_state=0, callbacks=list(callbacks))


def documents_for_fit(callbacks=()):
    return dg.ReplicatedSoftmax(
        4, batch_size=10, n_epochs=3, random_state=0, callbacks=list(callbacks)
    )


def ratings():
    """Ratings that recommenders of the campaign were made with."""
    users, items = np.nonzero(rows())
    return dg.Ratings.from_triples([f"u{user}" for user in users], items, 1 + users * items % 5)


def recommender_for_fit(callbacks=(), **settings):
    return dg.RatingsRBM(
        4, n_epochs=3, random_state=0, callbacks=list(callbacks), **{"rule": "pcd", **settings}
    )


# Estimators that compute more of what a file holds than a pass through a network.
KNOW_ROWS = (dg.DeepGaussianProcessRegressor, dg.NeighbourhoodComponents, dg.HierarchicalGaussian)


def read_model(path):
    """Load a model file and use it; look at it by the command line too."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = command(["info", str(path)])
    if code not in (0, 1):
        raise AssertionError(f"exit code {code}")
    estimator = dg.load(path)
    if isinstance(estimator, dg.RatingsRBM):
        ask(estimator)
        return
    zeros = np.zeros((2, estimator.n_features_in_), np.float32)
    if hasattr(estimator, "transform"):
        estimator.transform(zeros)
    if isinstance(estimator, KNOW_ROWS):
        estimator.predict(zeros)


def ask(recommender):
    """Ask a recommender of a file for all that it answers; each answer is a number of the scale."""
    n_users, n_items = recommender.n_users_, recommender.n_items_
    few = sparse.csr_array((n_users if recommender.rows == "items" else 1, n_items))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rows without a rating
        recommender.recommend(few, 3)
    recommender.transform(few)
    if n_users and n_items:
        named = recommender.user_ids_ is not None
        user = recommender.user_ids_[-1] if named else n_users - 1
        item = recommender.item_ids_[-1] if named else n_items - 1
        recommender.similar_items(item, 3)
        rating, scale = float(recommender.predict(user, item)), recommender.scale_.astype("f4")
        if not scale[0] <= rating <= scale[-1]:
            raise AssertionError(f"{rating} is not on the scale")


def read_ladder(path):
    """Load a ladder of models and go along it."""
    ladder = dg.load_ladder(path)
    dg.log_partition_by_ladder(ladder.models[-1], ladder, n_chains=4, n_sweeps=8, random_state=0)


def read_checkpoint(path):
    """Go on from a checkpoint: of a stream, of a stack's stream, of a fit, of ratings."""
    for make in (
        lambda: dg.RBM(4, batch_size=10), lambda: dg.DBN((4, 3), batch_size=10),
        lambda: dg.ReplicatedSoftmax(4, batch_size=10),
    ):  # fmt: skip
        with _promised(path):
            make().load_checkpoint(path).partial_fit(rows())
    for make in (machine_for_fit, documents_for_fit):
        with _promised(path):
            make().fit(rows(), resume=path)
    for rule in ("pcd", "prediction"):
        with _promised(path):
            recommender_for_fit(rule=rule).fit(ratings(), resume=path)


def read_array(path):
    """Read rows as commands do."""
    read_rows(str(path))


def read_triples(path):
    """Read ratings and titles as commands do."""
    for read in (read_ratings, read_titles):
        with _promised(path):
            read(str(path))


def read_toml(path):
    check_together(read_config(str(path), KNOWN), str(path))


@contextlib.contextmanager
def _promised(path):
    """Let through the errors that readers promise; each names the file."""
    try:
        yield
    except (dg.ModelFileError, CommandError):
        pass
    except ValueError as error:
        if str(path) not in str(error):
            raise
    except dg.DivergedError:  # a learning rate of the file
        pass


# --- what files begin as --------------------------------------------------------------------------


def whole_models(folder):
    """Write a file of each class of models."""
    X, y = rows(), np.arange(40) % 3
    few = {"n_epochs": 1, "random_state": 0}
    for number, estimator in enumerate((
        dg.RBM(4, **few).fit(X), dg.RBM(4, visible="gaussian", **few).fit(X),
        dg.RBM(4, visible=dg.Softmax(3), rule="cd", **few).fit(
            np.tile(np.eye(3, dtype=np.uint8), (10, 2))
        ),
        dg.ReplicatedSoftmax(4, **few).fit(X),
        dg.DBN((4, 3), **few).fit(X), dg.DBM((4, 3), **few).fit(X),
        dg.MixtureOfBernoullis(3, max_iter=2, random_state=0).fit(X),
        dg.Autoencoder(3, **few).fit(X),
        dg.DeepClassifier((4,), **few).fit(X, y), dg.DeepRegressor((4,), **few).fit(X, y),
        dg.DeepGaussianProcessRegressor((4,), **few).fit(X, y),
        dg.DeepGaussianProcessRegressor((4,), max_exact=20, inducing=5, **few).fit(X, y),
        dg.NeighbourhoodComponents((4,), 2, **few).fit(X, y),
        dg.HierarchicalGaussian(3, random_state=0).fit(X, y).add_class(X[:2], 3),
        dg.RatingsRBM(4, **few).fit(ratings()),
        dg.RatingsRBM(4, rows="users", bins=3, **few).fit(sparse.csr_array(X * np.arange(1.0, 7))),
    )):  # fmt: skip
        estimator.save(folder / f"{number}.safetensors")


def whole_ladders(folder):
    """Write ladders of models."""
    X = rows()
    for number, visible in enumerate((None, "gaussian")):
        steps = dg.ModelLadder(4)
        few = {"n_epochs": 3, "random_state": 0, "callbacks": [steps]}
        machine = dg.RBM(4, visible=visible, **few) if visible else dg.DBM((4, 3), **few)
        machine.fit(X)
        dg.save_ladder(steps.sampler(), folder / f"{number}.safetensors")


def whole_checkpoints(folder):
    """Write checkpoints of a stream, of a stack's stream and of a fit; rows too few for a batch."""
    X = rows()
    for name, make in (("fit", machine_for_fit), ("fit_documents", documents_for_fit)):
        make([dg.Checkpoint(folder / name)]).fit(X)
    for rule in ("pcd", "prediction"):
        path = folder / f"fit_ratings_{rule}"
        recommender_for_fit([dg.Checkpoint(path)], rule=rule).fit(ratings())
    for name, n in (("short", 4), ("long", 30)):
        for ending, estimator, learned in (
            ("", dg.RBM(4, batch_size=10), X[:n]),
            ("_csr", dg.RBM(4, batch_size=10), sparse.csr_array(X[:n])),
            ("_dbn", dg.DBN((4, 3), batch_size=10), X[:n]),
            ("_documents", dg.ReplicatedSoftmax(4, batch_size=10), sparse.csr_array(X[:n])),
        ):
            estimator.partial_fit(learned).save_checkpoint(folder / f"{name}{ending}")


def whole_arrays(folder):
    """Write arrays and sparse matrices of each format."""
    X = rows()
    np.savez(folder / "a.npz", X=X)
    np.savez_compressed(folder / "b.npz", X=X.astype(np.float32))
    np.save(folder / "c.npy", X)
    for kind in ("csr", "csc", "coo", "bsr", "dia"):
        sparse.save_npz(folder / f"{kind}.npz", sparse.csr_array(X).asformat(kind))


def whole_tables(folder):
    """Write tables of numbers, with and without names, quotes and gaps."""
    X = rows()[:9]
    np.savetxt(folder / "a.csv", X, delimiter=",", fmt="%d")
    np.savetxt(folder / "b.csv", X * 0.125, delimiter=",", header="a,b,c,d,e,f", comments="")
    (folder / "c.csv").write_text('"x","y"\n"1",2\n,3\n1e-3,-4\n')


def whole_triples(folder):
    """Write ratings, with and without names of columns, and titles."""
    (folder / "a.csv").write_text("userId,movieId,rating,timestamp\nann,10,3.5,0\nbob,10,4,1\n")
    (folder / "b.tsv").write_text("1\t7\t5\n2\t7\t3\n1\t9\t3\n")
    (folder / "c.csv").write_text('movie_id,title\n10,"Alien, the ""first"""\n9,Heat\n')


def whole_settings(folder):
    """Write settings of a few models."""
    (folder / "a.toml").write_text('model = "rbm"\nn_hidden = 4\nlearning_rate = [0.1, 0.0]\n')
    (folder / "b.toml").write_text('model = "dbn"\nn_hidden = [4, 3]\nrule = "cd"\nk = 2\n')


# --- how they are changed -------------------------------------------------------------------------


def change_bytes(data, others, rng):
    """Change bytes: bits, words, numbers of 4 and 8 bytes, pieces copied, cut out or taken over."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, how = rng.randrange(len(data) + 1), rng.randrange(7)
        if how == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at:at] = rng.choice(WORDS)
        elif how == 2:
            word = rng.choice(WORDS)
            data[at : at + len(word)] = word
        elif how == 3:
            number = rng.choice([n for n in NUMBERS if type(n) is int]) % 2**64
            data[at : at + 8] = struct.pack("<Q", number)[: rng.choice((1, 2, 4, 8))]
        elif how == 4:
            del data[at : at + rng.choice((1, 4, 64, 1024))]
        elif how == 5:
            data[at:at] = data[max(0, at - rng.choice((1, 8, 64))) : at] * rng.choice((1, 2, 50))
        else:
            other = rng.choice(others)
            from_ = rng.randrange(len(other) + 1)
            data[at : at + 32] = other[from_ : from_ + rng.choice((1, 32, 512))]
    return bytes(data[: 2**20])


def places(tree, here=()):
    """Yield (container, key) for all parts of a tree of dicts and lists."""
    for key, part in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(part, dict | list):
            yield from places(part, (*here, key))


def change_value(tree, rng):
    """Change some values of a tree, in place: replaced, removed, doubled, nested."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        found = list(places(tree))
        if not found:
            return
        container, key = rng.choice(found)
        how = rng.randrange(6)
        if how == 0 and isinstance(container, dict):
            container[rng.choice(("a", "", "$array", "$float", "/", "~"))] = container.pop(key)
        elif how == 1:
            del container[key]
        elif how == 2:
            container[key] = [copy.deepcopy(container[key])] * rng.choice((1, 2, 100))
        elif how == 3 and type(container[key]) in (int, float):
            container[key] = container[key] * rng.choice((-1, 2, 10**6)) + rng.choice((0, 1, -1))
        else:
            container[key] = copy.deepcopy(rng.choice(NUMBERS))


def change_signed(data, others, rng):
    """Change values of a file of deepgen, configuration, tree or tensors, and sign it anew."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    config = json.loads(header.pop("__metadata__")["deepgen"])
    tensors = {name: np.array(x) for name, x in model_files.parse(data).items()}
    config.pop("sha256", None)
    how = rng.randrange(3)
    if how == 0 and "tree" in tensors:
        tree = json.loads(tensors["tree"].tobytes())
        change_value(tree, rng)
        tensors["tree"] = np.frombuffer(json.dumps(tree).encode(), np.uint8)
    elif how == 0 or (how == 1 and "tree" not in tensors):
        change_value(config, rng)
    else:
        name = rng.choice([name for name in tensors if name != "tree"] or ["tree"])
        tensors[name] = change_array(tensors[name], rng)
    tensors = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
    try:
        config["sha256"] = model_files.checksum(config, tensors)
    except ValueError:  # a number that is no JSON: without a checksum then
        config["sha256"] = ""
    return model_files.serialize(tensors, metadata={"deepgen": json.dumps(config)})


def change_array(x, rng):
    """Return an array of other values, another shape or another type."""
    x, how = np.array(x), rng.randrange(5)
    if how == 0 and x.size:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            number = rng.choice([n for n in NUMBERS if type(n) in (int, float)])
            x.reshape(-1)[rng.randrange(x.size)] = np.asarray(float(number)).astype(x.dtype)
    elif how == 1:
        x = x.reshape(rng.choice((-1, (1, -1), (-1, 1), (x.size, 1, 1)))) if x.size else x
    elif how == 2:
        with np.errstate(all="ignore"):
            x = x.astype(rng.choice(("<f4", "<f8", "u1", "<i4", "<i8", "?")))
    elif how == 3:
        x = x[: rng.randrange(len(x) + 1)] if x.ndim else x
    else:
        x = np.zeros(rng.choice(((0,), (10**7, 0), (3,), (1, 1), (0, 6))), x.dtype)
    return x


def change_archive(data, others, rng):
    """Change arrays of an .npz file: values, shapes, types, names."""
    if not data.startswith(b"PK"):
        return change_bytes(data, others, rng)
    with np.load(io.BytesIO(data)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = rng.choice(list(arrays))
    if name in ("format", "shape") or rng.random() < 0.2:
        value = rng.choice(("csr", "csc", "bsr", "coo", "dia", "lil", 10**8, 2**62, -1, 0))
        arrays[name] = np.array(value) if rng.random() < 0.5 else np.array([value, 6])
    else:
        arrays[name] = change_array(arrays[name], rng)
    file = io.BytesIO()
    (np.savez if rng.random() < 0.5 else np.savez_compressed)(file, **arrays)
    return file.getvalue()


TARGETS = {
    "models": (whole_models, (change_bytes, change_signed, change_signed), read_model),
    "ladders": (whole_ladders, (change_bytes, change_signed, change_signed), read_ladder),
    "checkpoints": (whole_checkpoints, (change_bytes, *[change_signed] * 3), read_checkpoint),
    "arrays": (whole_arrays, (change_bytes, change_archive, change_archive), read_array),
    "tables": (whole_tables, (change_bytes,), read_array),
    "ratings": (whole_triples, (change_bytes,), read_triples),
    "settings": (whole_settings, (change_bytes,), read_toml),
}


# --- one file in a child ----------------------------------------------------------------------


class Lines:
    """The lines of deepgen that have been reached, by file and number."""

    def __init__(self):
        self.seen, self._watched = set(), {}

    def _call(self, frame, event, argument):
        code = frame.f_code
        if code not in self._watched:
            self._watched[code] = code.co_filename.startswith(PACKAGE)
        return self._line if self._watched[code] else None

    def _line(self, frame, event, argument):
        self.seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    @contextlib.contextmanager
    def watched(self):
        if hasattr(sys, "monitoring"):  # an event for each line once, and none after that
            yield from self._monitored()
        else:
            sys.settrace(self._call)
            try:
                yield
            finally:
                sys.settrace(None)

    def _monitored(self):
        tools = sys.monitoring

        def line(code, number):
            if code.co_filename.startswith(PACKAGE):
                self.seen.add((code.co_filename, number))
            return tools.DISABLE

        tools.use_tool_id(tools.COVERAGE_ID, "fuzz")
        tools.register_callback(tools.COVERAGE_ID, tools.events.LINE, line)
        tools.set_events(tools.COVERAGE_ID, tools.events.LINE)
        tools.restart_events()
        try:
            yield
        finally:
            tools.set_events(tools.COVERAGE_ID, 0)
            tools.free_tool_id(tools.COVERAGE_ID)


def peak():
    """Most bytes of memory that this process has had since :func:`forget_peak`."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def forget_peak():
    """Begin to measure anew; return the bytes of now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


def too_long(number, frame):
    raise TimeoutError(f"more than {HANGS:g} s")


def try_file(path, read):
    """Read a file; return what is wrong with that, or None."""
    size, before = path.stat().st_size, forget_peak()
    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    try:
        with _promised(path), np.errstate(all="ignore"):
            read(path)
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    taken = peak() - before
    return f"{taken} bytes of memory for {size}" if taken > TIMES * size + SLACK else None


def child(path, changed, read, seen, answer):
    """Read files until one is wrong; write a pickle of what each one did."""
    warnings.simplefilter("ignore")
    limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    if b"__asan_init" not in Path(dg._kernels.engine.__file__).read_bytes():  # it maps terabytes
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, limit))
    lines = Lines()
    lines.seen |= seen
    for data in changed:
        path.write_bytes(data)
        known = len(lines.seen)
        with lines.watched():
            wrong = try_file(path, read)
        pickle.dump((wrong, lines.seen - seen if len(lines.seen) > known else None), answer)
        answer.flush()
        if wrong:
            break


def in_child(path, changed, read, seen):
    """Yield (what is wrong or None, new lines or None) for files, from a process of their own."""
    with tempfile.TemporaryFile() as answer:
        pid = os.fork()
        if pid == 0:
            code = 1
            with contextlib.suppress(BaseException):
                child(path, changed, read, seen, answer)
                code = 0
            os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        answer.seek(0)
        n = 0
        with contextlib.suppress(EOFError):
            while True:
                yield pickle.load(answer)
                n += 1
        if status != 0 and n < len(changed):
            yield f"the process ended with {status}", None


# --- the campaign -----------------------------------------------------------------------------


def fuzz(name, seconds, seed, out):
    """Try whole files of one kind, then changed ones; return (files, lines, findings)."""
    whole, changes, read = TARGETS[name]
    rng, seen, n, findings = random.Random(f"{seed} {name}"), set(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        whole(folder)
        end = time.monotonic() + seconds
        corpus = {path.suffix: [] for path in folder.iterdir()}
        for path in sorted(folder.iterdir()):
            corpus[path.suffix].append(path.read_bytes())
        while n == 0 or time.monotonic() < end:
            ending = rng.choice(list(corpus))
            changed = [mutant(corpus[ending], changes, rng) for _ in range(AT_ONCE)]
            if n == 0:
                changed = corpus[ending] + changed
            target = folder / f"changed{ending}"
            for data, (wrong, new) in zip(
                changed, in_child(target, changed, read, seen), strict=False
            ):
                n += 1
                if new:
                    seen |= new
                    corpus[ending].append(data)
                if wrong:
                    findings += 1
                    keep(out, f"{name}-{findings}", ending, data, wrong)
    return n, len(seen), findings


def mutant(files, changes, rng):
    """Return a changed file; one that cannot be taken apart any more is changed as bytes."""
    data, change = rng.choice(files), rng.choice(changes)
    try:
        return change(data, files, rng)
    except Exception:  # of the file that was chosen, or of NumPy for values that it cannot hold
        return change_bytes(data, files, rng)


def keep(out, name, ending, data, wrong):
    """Write a finding: the file and what happened."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}{ending}").write_bytes(data)
    (out / f"{name}.txt").write_text(wrong)
    print(f"{name}{ending}: {wrong.strip().splitlines()[-1]}", flush=True)


def bombs(out):
    """Read archives that would unpack to terabytes; return the findings."""
    findings = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, (shape, n_bytes) in enumerate((
            ((2**28, 5), 2**30), ((2**40, 5), 2**20), ((3 * 2**27,), 3 * 2**30),
        )):  # fmt: skip
            path = Path(folder, f"bomb{number}.npz")
            with (
                zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
                archive.open("X.npy", "w", force_zip64=True) as file,
            ):
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "<f8", "fortran_order": False, "shape": shape}
                )
                for _ in range(n_bytes // 2**20):
                    file.write(bytes(2**20))
            for wrong, _ in in_child(path, [path.read_bytes()], read_array, set()):
                if wrong:
                    findings += 1
                    keep(out, f"bomb-{number}", ".npz", path.read_bytes(), wrong)
    return findings


def main():
    """Run the campaign; print a line for each kind of files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3600.0, help="for all (%(default)s)")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("findings"), help="folder (%(default)s)")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # children of a process with threads are serial
    total = bombs(arguments.out)
    for name in arguments.targets:
        seconds = arguments.seconds / len(arguments.targets)
        n, n_lines, findings = fuzz(name, seconds, arguments.seed, arguments.out)
        total += findings
        print(f"{name}: {n} files, {n_lines} lines reached, {findings} findings", flush=True)
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
