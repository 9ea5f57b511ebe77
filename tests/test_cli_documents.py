"""The command line on documents: topics, perplexities, words that are missing, folders of CSR."""

import json

import numpy as np
import pytest
from cli_runs import call, fails
from scipy import sparse

import deepgen as dg

N_WORDS = 12
WORDS = [f"word{column}" for column in range(N_WORDS)]
SHORT = ["--n-epochs", 3, "--n-hidden", 3, "--n-threads", 1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Documents of two themes in counts.npz, the last ones without words; a model in m."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    themes = rng.dirichlet(np.full(N_WORDS, 0.3), 2)
    lengths = rng.integers(2, 30, 120)
    counts = np.stack([rng.multinomial(n, themes[i % 2]) for i, n in enumerate(lengths)])
    counts[-3:] = 0
    sparse.save_npz("counts.npz", sparse.csr_array(counts))
    np.save("counts.npy", counts)
    dg.ReplicatedSoftmax(3, n_epochs=3, random_state=0, n_threads=1).fit(counts).save("m")
    return tmp_path


# --- train ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "parameters"),
    [
        (["--rule", "cd", "--k", 3], {"rule": dg.CD(3, centring=False)}),
        (["--rule", "cd", "--centring"], {"rule": dg.CD(3)}),
        (["--k", 2], {"rule": dg.PCD(2, n_particles=200)}),
        (["--momentum", 0.5], {"optimizer": dg.SGD(momentum=0.5, weight_decay=0, averaging=0.3)}),
        (["--weight-decay", 0.01],
         {"optimizer": dg.SGD(weight_decay=0.01, averaging=0.3)}),
        (["--optimizer", "adam"], {"optimizer": dg.Adam(weight_decay=0, averaging=0.3)}),
    ],
)  # fmt: skip
def test_a_part_of_a_setting_leaves_the_others_as_the_library_has_them(
    flags, parameters, folder, capsys
):
    """Would catch --k that brings centring, or --weight-decay that takes the momentum away."""
    argv = ["train", "--model", "replicated-softmax", "--data", "counts.npz", "--out", "w", *SHORT]
    code, _, lines = call(capsys, *argv, *flags)
    assert code == 0, lines
    run = {"n_epochs": 3, "random_state": 0, "n_threads": 1}
    dg.ReplicatedSoftmax(3, **run, **parameters).fit(np.load("counts.npy")).save("wanted")
    assert (folder / "w").read_bytes() == (folder / "wanted").read_bytes()


def test_completion_perplexity_is_that_of_one_half_given_the_other(folder, capsys):
    """Would catch halves that overlap, a mean over words in place of documents, and a judge of
    another epoch: the number of the last epoch is computed here anew."""
    argv = ["train", "--model", "replicated-softmax", "--data", "counts.npz", "--out", "w", *SHORT]
    more = ["--valid", "counts.npy", "--averaging", 0, "--history", "h.json"]
    code, _, lines = call(capsys, *argv, *more)
    assert code == 0, lines
    counts = sparse.csr_array(np.load("counts.npy"))
    given = counts.copy()
    given.data = np.random.default_rng(0).binomial(counts.data, 0.5)
    given = given.toarray()
    asked = counts.toarray() - given
    assert (asked >= 0).all()
    both = (given.sum(axis=1) > 0) & (asked.sum(axis=1) > 0)
    model = dg.load("w")
    logs = np.log(model.inverse_transform(model.transform(given[both])).astype(np.float64))
    nats = (asked[both] * logs).sum(axis=1) / asked[both].sum(axis=1)
    found = json.loads((folder / "h.json").read_text())[-1]["completion_perplexity"]
    assert np.isclose(found, np.exp(-nats.mean()), rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("tfidf.npy", "tfidf.npy: the rows must hold counts, whole numbers"),
        ("wide.npy", "wide.npy has 13 columns, but counts.npz has 12"),
        ("short.npy", "short.npy must have a document of two words or more, got none"),
    ],
)
def test_held_out_rows_that_are_no_documents(rows, words, folder, capsys):
    """Would catch a run of hours that ends in 0 / 0, or a traceback."""
    counts = np.load("counts.npy")
    np.save("tfidf.npy", counts / 2.5)
    np.save("wide.npy", np.ones((5, 13)))
    np.save("short.npy", np.eye(N_WORDS))
    argv = ["train", "--model", "replicated-softmax", "--data", "counts.npz", "--out", "w", *SHORT]
    assert words in fails(capsys, 1, *argv, "--valid", rows)


def test_tfidf_is_refused_by_name(folder, capsys):
    """Would catch fractions that are learned as counts."""
    np.save("tfidf.npy", np.load("counts.npy") / 2.5)
    argv = ["train", "--model", "replicated-softmax", "--data", "tfidf.npy", "--out", "w"]
    assert "TF-IDF and frequencies are no counts" in fails(capsys, 1, *argv)


# --- folders of CSR -------------------------------------------------------------------------------


def unpack(path="counts.npz", to="csr"):
    X = sparse.load_npz(path)
    arrays = {"data": X.data, "indices": X.indices, "indptr": X.indptr, "shape": X.shape}
    for name, array in arrays.items():
        np.save(f"{to}/{name}.npy", array)
    return X


def test_a_folder_of_a_csr_matrix_is_its_rows(folder, capsys):
    """Would catch a folder that is read in another order, or not at all."""
    (folder / "csr").mkdir()
    unpack()
    for data in ("csr", "counts.npz"):
        argv = ["train", "--model", "replicated-softmax", "--data", data, "--out", f"w_{data}"]
        code, _, lines = call(capsys, *argv, *SHORT)
        assert code == 0, lines
    assert (folder / "w_csr").read_bytes() == (folder / "w_counts.npz").read_bytes()


def test_a_folder_that_holds_no_matrix_is_refused(folder, capsys):
    """Would catch a traceback, and kernels that read beyond the arrays of a damaged folder."""
    (folder / "csr").mkdir()
    argv = ["transform", "m", "csr", "--out", "o.npy"]
    assert "csr is a folder, in which there is no data.npy" in fails(capsys, 1, *argv)
    X = unpack()
    np.save("csr/indices.npy", X.indices + 5)
    assert "csr must hold a CSR matrix: csr is a damaged sparse" in fails(capsys, 1, *argv)
    np.save("csr/indices.npy", X.indices[:-1])
    assert "csr must hold a CSR matrix" in fails(capsys, 1, *argv)
    (folder / "csr" / "indices.npy").write_bytes(b"none")
    assert "csr must hold a CSR matrix" in fails(capsys, 1, *argv)


# --- score ----------------------------------------------------------------------------------------


def test_score_says_what_the_library_says(folder, capsys):
    """Would catch ends of the bracket that are swapped, empty documents that count, and a
    perplexity of the other kind."""
    code, out, lines = call(
        capsys, "score", "m", "counts.npz", "--n-chains", 10, "--n-betas", 50, "--json"
    )
    assert (code, lines) == (0, [])
    found, counts, model = json.loads(out), np.load("counts.npy"), dg.load("m")
    model.log_partition(counts, n_chains=10, n_betas=50)
    mean = found["log_likelihood"]
    assert mean["lower"] <= mean["value"] <= mean["upper"]
    assert np.isclose(mean["value"], model.score_samples(counts).mean())
    assert np.isclose(mean["lower"], model.score(counts))
    for per, ends in found["perplexity"].items():
        assert np.isclose(ends["upper"], model.perplexity(counts, per=per))
        assert ends["lower"] <= ends["value"] <= ends["upper"]
    assert (found["n_empty"], found["n_words"]) == (3, counts.sum())
    out = call(capsys, "score", "m", "counts.npz", "--n-chains", 10, "--n-betas", 50)[1]
    assert "nats a document" in out
    assert "per document" in out
    assert "per word" in out
    assert "3 documents without any" in out


def test_documents_without_words_have_no_perplexity(folder, capsys):
    """Would catch NaN that is printed as a perplexity."""
    np.save("empty.npy", np.zeros((4, N_WORDS), np.int64))
    assert "no document with words" in fails(capsys, 1, "score", "m", "empty.npy")


# --- sample, impute, info -------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["o.npz", "o.npy", "o.csv"])
def test_sample_writes_documents_of_so_many_words(out, folder, capsys):
    """Would catch a pickled sparse matrix, and --words that is dropped."""
    argv = ["sample", "m", "--n", 4, "--words", 9, "--sweeps", 5, "--out", out]
    code, _, lines = call(capsys, *argv)
    assert code == 0, lines
    read = {"o.npz": sparse.load_npz, "o.npy": np.load}
    rows = read.get(out, lambda path: np.loadtxt(path, delimiter=","))(out)
    assert rows.shape == (4, N_WORDS)
    assert (rows.sum(axis=1) == 9).all()
    assert call(capsys, "transform", "m", out, "--out", "t.npy")[0] == 0


def test_impute_adds_so_many_words(folder, capsys):
    """Would catch numbers of words that are those of other documents."""
    np.save("lacks.npy", np.arange(120) % 4)
    (folder / "lacks.csv").write_text("\n".join(map(str, np.arange(120) % 4)) + "\n")
    for words, wanted in (("5", 5), ("lacks.npy", np.arange(120) % 4),
                          ("lacks.csv", np.arange(120) % 4)):  # fmt: skip
        argv = ["impute", "m", "counts.npz", "--words", words, "--sweeps", 3, "--n-chains", 2]
        code, out, lines = call(capsys, *argv, "--out", "o.npy")
        assert code == 0, lines
        assert "missing words by their mean" in out
        assert np.allclose(np.load("o.npy").sum(axis=1), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("impute m counts.npz", "words is missing: m holds a ReplicatedSoftmax; say by --words"),
        ("impute m counts.npz --words 3 --std s.npy", "--std is about single entries"),
        ("impute m counts.npz --words 3 --missing counts.npy", "leave it out and give --words"),
        ("impute m counts.npz --words -3", "words must be a number of at least 0, or a file"),
        ("impute m counts.npz --words x", "words must be a number of at least 0, or a file"),
        ("impute m counts.npz --words 99999999999", "words must be whole numbers"),
        ("impute m counts.npz --words 3 --sweeps 0", "sweeps must be a positive integer"),
        ("impute rbm counts.npz --words 3", "--words is for replicated-softmax, but rbm holds"),
        ("sample rbm --words 3", "--words is for replicated-softmax, but rbm holds an RBM"),
    ],
)
def test_words_that_are_missing_must_be_counted(argv, words, folder, capsys):
    """Would catch a mask or a flag that is ignored, and a refusal without a remedy."""
    dg.RBM(2, n_epochs=1, random_state=0).fit(np.eye(N_WORDS)).save("rbm")
    out = [] if "--out" in argv else ["--out", "o.npy"]
    assert words in fails(capsys, 2, *argv.split(), *out)


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        (np.zeros(3), "lacks.npy has 3 entries, but counts.npz has 120 rows"),
        (np.full(120, 0.5), "must be whole numbers"),
        (np.full(120, np.nan), "must hold a finite number for each row"),
    ],
)
def test_numbers_of_missing_words_fit_the_documents(lacks, words, folder, capsys):
    """Would catch numbers that are rounded, or repeated for all documents."""
    np.save("lacks.npy", lacks)
    argv = ["impute", "m", "counts.npz", "--words", "lacks.npy", "--out", "o.npy"]
    code, out, lines = call(capsys, *argv)
    assert code in (1, 2)
    assert out == ""
    assert words in lines[0]


def test_info_says_what_multinomial_units_are(folder, capsys):
    """Would catch an option by its name in the code, and a float with sixteen digits."""
    out = call(capsys, "info", "m")[1]
    assert "12 multinomial units, 1" in out
    assert "draws a row on average, each row its own number" in out
    layers = dg.Multinomial(bias=np.zeros(4), trials=5), dg.Binary(2)
    machine = dg.BoltzmannMachine(layers, [np.zeros((4, 2))])
    dg.RBM.from_model(machine).save("five")
    assert "4 multinomial units, 5 draws a row" in call(capsys, "info", "five")[1]


# --- topics ---------------------------------------------------------------------------------------


def write_vocabulary(name, words=WORDS):
    if name.endswith(".npy"):
        np.save(name, np.array(words))
        return
    text = {
        "json": json.dumps(words),
        "csv": "word,n\n" + "".join(f'"{word}",3\n' for word in words),
        "tsv": "".join(f"{word}\t3\n" for word in words),
        "txt": "\n".join(words) + "\n",
    }[name.rpartition(".")[2]]
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize("name", ["v.txt", "v.csv", "v.tsv", "v.json", "v.npy"])
def test_topics_prints_the_words_of_each_topic(name, folder, capsys):
    """Would catch words that are shifted by a title, and topics in an order that nobody said."""
    write_vocabulary(name)
    code, out, lines = call(capsys, "topics", "m", "--vocabulary", name, "--n", 4, "--json")
    assert (code, lines) == (0, [])
    topics, model = json.loads(out)["topics"], dg.load("m")
    words = model.top_words(4, WORDS)
    assert {t["topic"]: t["words"] for t in topics} == dict(enumerate(words))
    strengths = [t["strength"] for t in topics]
    assert strengths == sorted(strengths, reverse=True)
    contrasts = model.components_ - model.components_.mean(axis=0)
    first = topics[0]["topic"]
    assert first == np.argmax((contrasts**2).sum(axis=1))
    assert np.allclose(topics[0]["weights"], -np.sort(-contrasts[first])[:4])
    printed = call(capsys, "topics", "m", "--vocabulary", name, "--n", 4)[1].splitlines()
    assert printed[0] == f"topic {first}: {' '.join(words[first])}"
    assert len(printed) == 3


def test_an_object_of_columns_by_word_is_a_vocabulary(folder, capsys):
    """Would catch the order of the object in place of its columns: `CountVectorizer.vocabulary_`
    is in that in which words were met."""
    columns = {word: column for column, word in reversed(list(enumerate(WORDS)))}
    (folder / "v.json").write_text(json.dumps(columns))
    write_vocabulary("v.txt")
    outputs = [call(capsys, "topics", "m", "--vocabulary", v)[1] for v in ("v.json", "v.txt")]
    assert outputs[0] == outputs[1]


def test_without_a_vocabulary_words_are_the_columns(folder, capsys):
    """Would catch names in the file that nobody sees."""
    import pandas as pd

    out = call(capsys, "topics", "m", "--n", 2, "--json")[1]
    assert all(type(word) is int for t in json.loads(out)["topics"] for word in t["words"])
    frame = pd.DataFrame(np.load("counts.npy"), columns=WORDS)
    dg.ReplicatedSoftmax(3, n_epochs=1, random_state=0).fit(frame).save("named")
    assert "word" in call(capsys, "topics", "named")[1]


def test_words_do_not_move_the_terminal(folder, capsys):
    """Would catch control characters of a strange vocabulary on the screen."""
    write_vocabulary("v.json", ["\x1b[2J", "two words", "", *WORDS[3:]])
    out = call(capsys, "topics", "m", "--vocabulary", "v.json", "--n", N_WORDS)[1]
    assert "\x1b" not in out
    assert '"two words"' in out


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("v.txt", "a\nb\n", "v.txt must hold 12 words, one for each column of the model, got 2"),
        ("v.json", "[1, 2]", "must hold a list of words, or an object of columns by word"),
        ("v.json", '{"a": 0, "b": 2}', "must say a column for each word, each of 0 to 1 once"),
        ("v.json", "[", "v.json must hold words in the order of the columns"),
        ("v.npy", "none", "v.npy must be a .npy file of texts"),
        ("v.txt", b"\xff\xfe", "v.txt must hold words in the order of the columns"),
        ("none.txt", None, "none.txt: No such file"),
    ],
)
def test_vocabularies_that_are_none(name, content, words, folder, capsys):
    """Would catch a traceback, and words that belong to other columns."""
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    elif content is not None:
        (folder / name).write_text(content)
    assert words in fails(capsys, 1, "topics", "m", "--vocabulary", name)


def test_names_of_a_vectorizer_are_objects(folder, capsys):
    """Would catch the advice to write numbers, where the remedy is to write texts."""
    np.save("v.npy", np.array(WORDS, dtype=object))
    line = fails(capsys, 1, "topics", "m", "--vocabulary", "v.npy")
    assert "numpy.asarray(words, dtype=str)" in line
    np.save("v.npy", np.arange(N_WORDS))
    assert "must hold a row of texts, got int" in fails(
        capsys, 1, "topics", "m", "--vocabulary", "v.npy"
    )
