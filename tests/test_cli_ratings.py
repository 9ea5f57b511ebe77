"""The command line on ratings: triples in files, train, score, recommend."""

import json

import numpy as np
import pytest
from cli_runs import call, fails
from test_cli_models import OTHER

import deepgen as dg
from deepgen.cli.common.building import estimator_for
from deepgen.cli.common.triples import read_ratings

SHORT = ["--n-epochs", 3, "--n-hidden", 4, "--n-threads", 1]
EPOCHS = {"n_epochs": 3, "random_state": 0, "n_threads": 1}


def triples(n_users=30, n_items=20):
    """Users by name, items by number, whole stars."""
    rng = np.random.default_rng(0)
    wish = rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))
    values = np.clip(np.round(3.0 + wish), 1, 5).astype(int)
    users, items = np.nonzero(rng.random((n_users, n_items)) < 0.5)
    return [f"u{user}" for user in users], (10 * items).tolist(), values[users, items].tolist()


def write(path, rows, head="user,item,rating"):
    """Write lines of cells, below the names of columns or none."""
    lines = ([head] if head else []) + [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """ratings.csv and titles.csv; models of both sides in `items` and `users`."""
    monkeypatch.chdir(tmp_path)
    rows = list(zip(*triples(), strict=True))
    write(tmp_path / "ratings.csv", rows)
    write(tmp_path / "titles.csv", [(10 * n, f"Film {n}") for n in range(20)], "item,title")
    ratings = dg.Ratings.from_triples(*triples())
    for side in ("items", "users"):
        dg.RatingsRBM(4, rows=side, **EPOCHS).fit(ratings).save(side)
    return tmp_path


# ------------------------------------------------------------------------------------------ train


@pytest.mark.parametrize("side", ["items", "users"])
def test_train_is_the_estimator_of_the_library(side, folder, capsys):
    """Would catch a default of the command line that is not the library's, and identifiers that
    become texts on their way: the files would differ."""
    argv = ["train", "--model", "ratings", "--data", "ratings.csv", "--out", "m", "--rows", side]
    code, out, lines = call(capsys, *argv, *SHORT)
    assert code == 0, lines
    assert "30 x 20" in out
    assert "ratings that were hidden and predicted" in out
    assert (folder / "m").read_bytes() == (folder / side).read_bytes()
    found = json.loads(call(capsys, *argv, *SHORT, "--json")[1])
    assert (found["n_rows"], found["n_columns"]) == (30, 20)


@pytest.mark.parametrize(
    ("flags", "parameters"),
    [
        (["--rule", "cd", "--k", 3], {"rule": dg.CD(3)}),
        (["--rule", "pcd"], {"rule": dg.PCD(1)}),
        (["--weight-decay", 0.5], {"weight_decay": 0.5}),
        (["--scale", "0,1,2,3,4,5"], {"scale": (0, 1, 2, 3, 4, 5)}),
        (["--bins", 2], {"bins": 2}),
        (["--no-conditional"], {"conditional": False}),
        (["--learning-rate", 0.1, "--learning-rate-end", 0],
         {"learning_rate": dg.Linear(0.1, 0.0)}),
    ],
)  # fmt: skip
def test_settings_reach_the_estimator(flags, parameters, folder, capsys):
    """Would catch a decay that goes to an optimizer which there is none of, and a scale as text."""
    argv = ["train", "--model", "ratings", "--data", "ratings.csv", "--out", "m", *SHORT]
    code, _, lines = call(capsys, *argv, *flags)
    assert code == 0, lines
    ratings = dg.Ratings.from_triples(*triples())
    dg.RatingsRBM(4, **EPOCHS, **parameters).fit(ratings).save("w")
    assert (folder / "m").read_bytes() == (folder / "w").read_bytes()
    assert OTHER["bins"] == estimator_for({"model": "ratings", "bins": OTHER["bins"]}).bins


def test_a_checkpoint_goes_on(folder, capsys):
    """Would catch a run of ratings that begins anew."""
    argv = ["train", "--model", "ratings", "--data", "ratings.csv", "--out", "m", *SHORT]
    more = ["--checkpoint", "c", "--resume", "--history", "h.csv"]
    code, _, lines = call(capsys, *argv, *more)
    assert code == 0, lines
    assert (folder / "m").read_bytes() == (folder / "items").read_bytes()
    assert len((folder / "h.csv").read_text().splitlines()) == 4
    assert call(capsys, *argv, *more)[0] == 0
    assert (folder / "m").read_bytes() == (folder / "items").read_bytes()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--k", 2], "k belongs to the rules pcd and cd, got rule prediction"),
        (["--scale", "one,two"], "scale must be numbers with commas between"),
        (["--scale", "1,2", "--bins", 3], "exclude each other"),
        (["--bins", 21], "bins"),
        (["--n-hidden", 4, 3], "n_hidden must be one size"),
        (["--n-particles", 9], "n_particles is a setting of"),
        (["--valid", "ratings.csv"], "run deepgen score on the model file instead"),
        (["--packed-columns", 8], "packed_columns is a setting of"),
        (["--batch-size", 8], "batch_size is a setting of"),
    ],
)
def test_wrong_settings_are_refused(flags, words, folder, capsys):
    """Would catch a flag that is accepted and dropped."""
    argv = ["train", "--model", "ratings", "--data", "ratings.csv", "--out", "m"]
    assert words in fails(capsys, 2, *argv, *flags)
    assert "rule must be pcd or cd for the model rbm" in fails(
        capsys, 2, "train", "--data", "ratings.csv", "--out", "m", "--rule", "prediction"
    )


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("head", "order"),
    [
        ("user,item,rating", (0, 1, 2)), ("userId,movieId,rating,timestamp", (0, 1, 2, 0)),
        ("rating,User_ID,stars of others,Item", (2, 0, 2, 1)), ("", (0, 1, 2)),
        ("who,what,how much", (0, 1, 2)), (",user,item,rating", (2, 0, 1, 2)),
        ("", (0, 1, 2, 2)), (",who,what,stars", (2, 0, 1, 2)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_columns_are_found_by_name_or_by_place(head, order, ending, folder):
    """Would catch a rating of one column that is read from another, and a first line that is lost
    because it holds texts."""
    rows = list(zip(*triples(), strict=True))
    path = folder / f"other{ending}"
    write(path, [[row[place] for place in order] for row in rows], head)
    if ending == ".tsv":
        path.write_text(path.read_text().replace(",", "\t"))
    found, wanted = read_ratings(str(path)), dg.Ratings.from_triples(*triples())
    assert found.user_ids.tolist() == wanted.user_ids.tolist()
    assert found.item_ids.tolist() == wanted.item_ids.tolist()
    assert (found.matrix != wanted.matrix).nnz == 0


def test_identifiers_are_integers_where_all_are(folder):
    """Would catch 007 that becomes 7, and items that are numbers for one file and texts for
    another of the same kind."""
    for users, wanted in (
        (["7", "-8"], [-8, 7]), (["007", "8"], ["007", "8"]), (["7", "x"], ["7", "x"]),
        (["9" * 30, "1"], ["1", "9" * 30]),
    ):  # fmt: skip
        write(folder / "f.csv", [(users[0], 1, 3), (users[1], 2, 4)])
        assert read_ratings("f.csv").user_ids.tolist() == wanted


def test_parquet(folder, capsys):
    """Would catch integers that pandas holds as floats taken for other identifiers."""
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    users, items, values = triples()
    frame = pd.DataFrame({"when": 1.5, "item": np.array(items, float), "user": users})
    frame["rating"] = values
    frame.to_parquet("r.parquet")
    assert read_ratings("r.parquet").item_ids.dtype == np.int64
    argv = ["train", "--model", "ratings", "--data", "r.parquet", "--out", "m", *SHORT]
    assert call(capsys, *argv)[0] == 0
    assert (folder / "m").read_bytes() == (folder / "items").read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user,item,rating\na,1,3\na,1,4\n", "f.csv: ratings must have one for a user and an item"),
        ("user,item,rating\na,1,3\nb,2,\n", "must have a number for each rating, got '' in row 1"),
        ("user,item,rating\na,1,nan\nb,2,3\n", "got nan in row 0; leave out"),
        ("user,item,rating\n,1,3\nb,2,4\n", "users must have an identifier"),
        ("user,item,rating\na,1,3\nb,2\n", "must have 3 cells in each line"),
        ("user,item\na,1\n", "must have the columns user, item, rating, got 2 columns"),
        ("rating,user,film title\n3,a,1\n", "must name the columns user, item, rating, or have"),
        ("user,user,rating\na,1,3\n", "must have one column user, got 2"),
        ("user,item,rating\na,1,5\nb,2,5\n", "visible='binary'"),
        ("user,item,rating\n", "at least one rating"),
        ("", "must hold a line at least"),
    ],
)
def test_bad_files_are_refused_by_name(text, words, folder, capsys):
    """Would catch a traceback, and duplicates that add up."""
    (folder / "f.csv").write_text(text)
    argv = ["train", "--model", "ratings", "--data", "f.csv", "--out", "m"]
    assert words in fails(capsys, 1, *argv)


def test_other_files_are_refused(folder, capsys):
    """Would catch a matrix that is read as triples."""
    np.save("x.npy", np.eye(3))
    argv = ["train", "--model", "ratings", "--out", "m", "--data"]
    assert "must be a .csv, .tsv or .parquet file" in fails(capsys, 2, *argv, "x.npy")
    assert "none.csv" in fails(capsys, 1, *argv, "none.csv")
    (folder / "f.csv").write_bytes(b"user,item,rating\n\xff\xfe,1,3\n")
    assert "UTF-8" in fails(capsys, 1, *argv, "f.csv")


# ------------------------------------------------------------------------------------------ score


def test_score_says_what_the_library_says(folder, capsys):
    """Would catch ratings of unknown items that end the command or are counted in."""
    rows = list(zip(*triples(), strict=True))[::5]
    write(folder / "held.csv", [*rows, ("u1", 999, 3), ("stranger", 10, 5)])
    found = json.loads(call(capsys, "score", "items", "held.csv", "--json")[1])
    model = dg.load("items")
    wanted = dg.Ratings.from_triples(*zip(*rows, strict=True), scale=[1, 2, 3, 4, 5])
    assert np.isclose(found["rmse"], -model.score(wanted))
    assert np.isclose(found["log_loss"], model.log_loss(wanted))
    assert np.isclose(found["ndcg"], model.ndcg(wanted))
    assert (found["n_ratings"], found["n_unknown"]) == (len(rows), 2)
    told = call(capsys, "score", "items", "held.csv")[1]
    assert "NDCG@10" in told
    assert "2 more of users or items" in told
    write(folder / "one.csv", [("u1", 10, 1)])
    assert "no user has two" in call(capsys, "score", "items", "one.csv")[1]
    write(folder / "none.csv", [("who", 10, 1)])
    assert "no rating of a user and an item that" in fails(capsys, 1, "score", "items", "none.csv")
    assert "labels is not for" in fails(
        capsys, 2, "score", "items", "one.csv", "--labels", "one.csv"
    )
    assert "--n-chains would do nothing" in fails(
        capsys, 2, "score", "items", "one.csv", "--n-chains", 3
    )


@pytest.mark.parametrize("command", ["transform", "predict", "sample", "impute", "topics"])
def test_other_commands_say_what_works(command, folder, capsys):
    """Would catch an AttributeError of a model that has no rows as the other commands read them."""
    data = [] if command in ("sample", "topics") else ["ratings.csv"]
    out = [] if command == "topics" else ["--out", "o.npy"]
    line = fails(capsys, 1, command, "items", *data, *out)
    assert "items holds a RatingsRBM" in line
    assert line.endswith("commands that work on it are info, score and recommend")


def test_info_tells_of_ratings(folder, capsys):
    """Would catch a largest weight that is that of a bias, and a scale that nobody sees."""
    found = json.loads(call(capsys, "info", "users", "--json")[1])
    model = dg.load("users").model_
    largest = float(np.abs(model.weights).max())
    assert found["largest_weight"] == pytest.approx(largest)
    assert found["scale"] == [1, 2, 3, 4, 5]
    assert (found["rows"], found["n_columns"], found["n_known"]) == ("users", 20, 30)
    assert "scale             1, 2, 3, 4, 5" in call(capsys, "info", "users")[1]


# -------------------------------------------------------------------------------------- recommend


@pytest.mark.parametrize("side", ["items", "users"])
def test_recommend_says_what_the_library_says(side, folder, capsys):
    """Would catch what is rated among the answers, and titles of other items."""
    model, ratings = dg.load(side), dg.Ratings.from_triples(*triples())
    argv = ["recommend", side, "--user", "u3", "u12", "--n", 4]
    more = ["--ratings", "ratings.csv", "--titles", "titles.csv"]
    found = json.loads(call(capsys, *argv, *more, "--json")[1])
    ids, scores = model.recommend(ratings, 4, users=["u3", "u12"])
    for row, entry in enumerate(found["users"]):
        assert entry["user"] == ("u3", "u12")[row]
        assert [item["item"] for item in entry["items"]] == ids[row].tolist()
        assert np.allclose([item["score"] for item in entry["items"]], scores[row])
        assert all(item["title"] == f"Film {item['item'] // 10}" for item in entry["items"])
    told = call(capsys, *argv, *more)[1].splitlines()
    assert told[0] == "user u3"
    assert told[1].split() == [f"{scores[0, 0]:.3f}", str(ids[0, 0]), "Film", str(ids[0, 0] // 10)]
    assert len(told) == 10
    free = json.loads(call(capsys, *argv, "--json")[1])
    wanted = model.recommend(users=["u3", "u12"], n=4)[0]
    assert [item["item"] for item in free["users"][0]["items"]] == wanted[0].tolist()
    assert "title" not in free["users"][0]["items"][0]
    top = json.loads(call(capsys, *argv, "--rank", "top", "--json")[1])
    assert top["users"][0]["items"][0]["score"] <= 1.0


def test_new_users_are_those_of_a_file(folder, capsys):
    """Would catch a scale that is guessed from the few ratings of one user."""
    write(folder / "new.csv", [("eve", 10, 5), ("eve", 20, 5), ("eve", 999, 5), ("tom", 10, 1)])
    argv = ["recommend", "users", "--ratings", "new.csv", "--n", 30]
    code, out, lines = call(capsys, *argv, "--user", "eve")
    assert (code, lines) == (0, [])
    assert len(out.splitlines()) == 1 + 18 + 1
    assert "1 ratings of items that the model does not know" in out
    assert "train one with --rows users, and pass what they have rated by --ratings" in fails(
        capsys, 1, "recommend", "items", "--ratings", "new.csv", "--user", "eve"
    )
    assert "must have a rating of user 'u3', got none" in fails(capsys, 1, *argv, "--user", "u3")
    assert "does not know user 'eve'; pass what this user has rated by --ratings" in fails(
        capsys, 1, "recommend", "users", "--user", "eve"
    )


def test_numbers_are_identifiers_of_a_model_without(folder, capsys):
    """Would catch a model that was fitted on a matrix and that no user can be named for; and 7
    that is a text on the command line and a number in the model."""
    ratings = dg.Ratings.from_triples(*triples())
    dg.RatingsRBM(4, **EPOCHS).fit(ratings.matrix).save("plain")
    found = json.loads(call(capsys, "recommend", "plain", "--user", 7, "--n", 3, "--json")[1])
    named = dg.load("items").recommend(users=[ratings.user_ids[7]], n=3)[0][0]
    assert found["users"][0]["user"] == 7
    assert [10 * item["item"] for item in found["users"][0]["items"]] == named.tolist()
    write(folder / "mine.csv", [(7, 0, 5), (7, 1, 4)])
    argv = ["recommend", "plain", "--user", "7", "--ratings", "mine.csv", "--n", 30, "--json"]
    items = json.loads(call(capsys, *argv)[1])["users"][0]["items"]
    assert {item["item"] for item in items} == set(range(2, 20))


def test_a_part_of_a_file_has_the_identifiers_of_the_whole(folder, capsys):
    """Would catch users 1 to 9 who are unknown, and rated items that are recommended, where the
    part of a file that is asked about has no name but whole numbers and the whole had others."""
    rng = np.random.default_rng(0)
    pairs = [(u, i, int(rng.integers(1, 6))) for u in range(20) for i in range(9) if (u + i) % 3]
    write(folder / "all.csv", [*pairs, ("bob", "tt7", 3), ("bob", 2, 5)])
    for rows in ("items", "users"):
        call(capsys, "train", "--model", "ratings", "--data", "all.csv", "--rows", rows,
             "--n-epochs", 2, "--out", "m")  # fmt: skip
        write(folder / "some.csv", [p for p in pairs if p[0] in (4, 7)])
        scored = json.loads(call(capsys, "score", "m", "some.csv", "--json")[1])
        assert (scored["n_ratings"], scored["n_unknown"]) == (12, 0)
        argv = ["recommend", "m", "--user", 7, "--ratings", "some.csv", "--n", 30, "--json"]
        found = json.loads(call(capsys, *argv)[1])
        assert found["n_unknown"] == 0
        left = {str(item) for item in range(9) if not (7 + item) % 3} | {"tt7"}
        assert {item["item"] for item in found["users"][0]["items"]} == left


def test_more_items_than_there_are_take_no_memory(folder, capsys):
    """Would catch an array of the size that was asked for, where 20 items are all."""
    argv = ["recommend", "items", "--user", "u3", "--n", 10**9, "--json"]
    assert len(json.loads(call(capsys, *argv)[1])["users"][0]["items"]) == 20


def test_titles_do_not_move_the_terminal(folder, capsys):
    """Would catch control characters of a strange file on the screen."""
    write(folder / "t.csv", [(10 * n, "\x1b[2J") for n in range(20)], "")
    out = call(capsys, "recommend", "items", "--user", "u3", "--titles", "t.csv")[1]
    assert "\x1b" not in out
    assert r"\u001b[2J" in out


def test_recommend_of_another_model_is_refused(folder, capsys):
    """Would catch a traceback for a model of rows."""
    dg.RBM(2, n_epochs=1, random_state=0).fit(np.eye(4)).save("rbm")
    assert "rbm holds an RBM, which recommends nothing" in fails(
        capsys, 1, "recommend", "rbm", "--user", "1"
    )
