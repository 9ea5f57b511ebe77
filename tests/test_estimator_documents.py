"""ReplicatedSoftmax: topics of documents, as users fit, ask and keep it."""

import numpy as np
import pandas as pd
import pytest
import reference
from comparisons import assert_same_model
from conftest import assert_same_bits
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import deepgen as dg

WORDS = 24


def documents(n_rows=120, seed=0, length=20):
    """Counts of documents of two themes, which use one half of the vocabulary each; the last
    document is empty."""
    rng = np.random.default_rng(seed)
    theme = np.arange(n_rows) % 2
    p = np.where((np.arange(WORDS) < WORDS // 2) == (theme[:, None] == 0), 0.9, 0.1)
    counts = np.array([rng.multinomial(rng.integers(1, length), row / row.sum()) for row in p])
    counts[-1] = 0
    return counts, theme


@pytest.fixture(scope="module")
def fitted():
    """Topics of two themes."""
    counts, theme = documents(1_000)
    return dg.ReplicatedSoftmax(6, random_state=0).fit(counts), counts, theme


def exact_log_p(model, counts):
    """log p of ordered words by enumeration of the twins, at float64."""
    parameters = [x.astype(np.float64) for x in (model.weights[0], *(u.bias for u in model.layers))]
    log_z = [reference.replicated_log_partition(*parameters, d) for d in counts.sum(axis=1)]
    return reference.replicated_log_weight(*parameters, counts) - np.array(log_z)


def test_scores_are_exact_on_a_small_model_and_better_than_a_unigram(fitted):
    """Would catch a log Z of another length, coefficients, and weights that learn nothing."""
    topics, counts, _ = fitted
    found, exact = topics.score_samples(counts), exact_log_p(topics.model_, counts)
    partition = topics.log_partition(counts)
    lengths = counts.sum(axis=1)
    room = partition.upper(lengths) - partition.lower(lengths) + 1e-3
    assert (np.abs(found - exact) <= room).all()
    assert found[-1] == pytest.approx(0.0, abs=1e-4)
    p = (counts.sum(axis=0) + 1.0) / (counts.sum() + WORDS)
    unigram = counts @ np.log(p)
    assert exact.mean() > unigram.mean() + 2.0
    assert topics.score(counts) <= exact.mean() + 1e-3


def test_perplexities_leave_out_empty_documents_and_say_per_what(fitted):
    """Would catch 0 / 0 of an empty document, and one kind of perplexity given for the other."""
    topics, counts, _ = fitted
    full = counts[:-1]
    lower = topics.score_samples(full) - (
        topics.log_partition(full).upper(full.sum(axis=1))
        - topics.log_partition(full).value(full.sum(axis=1))
    )
    by_document = np.exp(-np.mean(lower / full.sum(axis=1)))
    assert topics.perplexity(counts) == pytest.approx(by_document)
    by_word = np.exp(-lower.sum() / full.sum())
    assert topics.perplexity(sparse.csr_matrix(counts), per="word") == pytest.approx(by_word)
    assert topics.perplexity(counts) < WORDS * 0.9
    with pytest.raises(ValueError, match="per must be 'document' or 'word', got 'token'"):
        topics.perplexity(counts, per="token")
    with pytest.raises(ValueError, match="documents with words"):
        topics.perplexity(counts[-1:])


def test_a_likelihood_does_not_depend_on_the_other_documents(fitted):
    """Would catch a curve over lengths that moves with the longest document, so that a score of one
    document is another one in company."""
    topics, counts, _ = fitted
    alone, again = dg.ReplicatedSoftmax.from_model(topics.model_), None
    again = dg.ReplicatedSoftmax.from_model(topics.model_)
    short = counts[counts.sum(axis=1) < 8]
    long = np.vstack([short, counts[:1] * 40])
    assert_same_bits(alone.score_samples(short), again.score_samples(long)[: len(short)])


def test_features_of_fields_are_by_the_word(fitted):
    """Would catch fields that grow with the length, and a division by no words."""
    topics, counts, theme = fitted
    twice = topics.transform(2 * counts[:-1], quantity="field")
    fields = topics.transform(counts, quantity="field")
    np.testing.assert_allclose(twice, fields[:-1], atol=1e-5)
    bias = topics.model_.layers[1].bias
    shares = counts[:-1] / counts[:-1].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fields[:-1], bias + shares @ topics.model_.weights[0], atol=1e-5)
    np.testing.assert_allclose(fields[-1], bias)
    assert topics.transform(counts)[-1] == pytest.approx(0.5)
    centred = fields[:-1] - fields[:-1].mean(axis=0)
    nearest = np.argsort(-(centred @ centred.T), axis=1)[:, 1:6]
    assert (theme[nearest] == theme[:-1, None]).mean() > 0.9


def test_words_of_topics_are_named(fitted):
    """Would catch words by weights alone, in another order, or names of another vocabulary."""
    topics, counts, _ = fitted
    names = [f"w{k}" for k in range(WORDS)]
    weights = topics.components_ - topics.components_.mean(axis=0)
    assert topics.top_words(3, names)[2] == [names[k] for k in np.argsort(-weights[2])[:3]]
    assert topics.components_.shape == (6, WORDS)
    assert topics.get_feature_names_out()[0] == "replicatedsoftmax0"
    framed = clone(topics).set_params(n_epochs=1).fit(pd.DataFrame(counts, columns=names))
    assert framed.top_words(2)[0][0] in names
    with pytest.raises(ValueError, match="vocabulary must have 24 words, one a column, got 3"):
        topics.top_words(vocabulary=["a", "b", "c"])


@pytest.mark.parametrize("n_words", [None, 7, [0, 1, 900]])
def test_samples_have_as_many_words_as_were_asked_for(fitted, n_words):
    """Would catch documents of one length, and pieces that differ from the whole."""
    topics, counts, _ = fitted
    found = topics.sample(3, n_words=n_words, n_sweeps=20, random_state=1)
    usual = topics.model_.layers[0].usual_trials
    assert usual == round(counts.sum() / len(counts))
    wanted = np.broadcast_to(usual if n_words is None else n_words, 3)
    assert found.sum(axis=1).tolist() == wanted.tolist()
    assert found.dtype.kind == "i"
    assert sparse.issparse(found)
    last = topics.sample(1, n_words=int(wanted[2]), n_sweeps=20, random_state=1, first_row=2)
    assert (last != found[2:]).nnz == 0
    assert topics.sample(0).shape == (0, WORDS)


def test_missing_words_are_those_of_the_theme(fitted):
    """Would catch words that are drawn from the unigram, or a number of them that is not kept."""
    topics = fitted[0]
    half = np.zeros((2, WORDS), int)
    half[0, :6], half[1, 12:18] = 2, 2
    means = topics.impute(half, [10, 4], random_state=0)
    first = WORDS // 2
    np.testing.assert_allclose(means.sum(axis=1), [10, 4], rtol=1e-5)
    assert means[0, :first].sum() > 7
    assert means[1, first:].sum() > 2.8
    draw = topics.impute(sparse.csr_array(half), 5, method="draw", random_state=0)
    assert draw.sum(axis=1).tolist() == [5, 5]
    assert (draw == np.rint(draw)).all()
    for wrong, message in (([1, 2, 3], r"shape \(2,\)"), (-1, "whole numbers"), (0.5, "whole")):
        with pytest.raises(ValueError, match=message):
            topics.impute(half, wrong)


def test_word_shares_of_topics_add_up_to_one(fitted):
    """Would catch counts of a usual document where the distribution of a word was asked for."""
    topics, *_ = fitted
    shares = topics.inverse_transform(np.eye(6))
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16, np.uint8, np.float32, bool])
@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_matrix, np.asarray])
def test_counts_of_any_type_and_form_learn_the_same_bits(dtype, form):
    """Would catch counts that overflow or lose bits on the way, or sparse rows that do."""
    counts = documents()[0].astype(dtype)
    found = dg.ReplicatedSoftmax(3, n_epochs=2, random_state=0).fit(form(counts))
    wanted = dg.ReplicatedSoftmax(3, n_epochs=2, random_state=0).fit(counts.astype(np.int64))
    assert_same_model(found.model_, wanted.model_)


def test_batches_of_an_iterable_learn():
    """Would catch an iterable of sparse batches that is read once only."""
    counts = documents()[0]

    class Batches:
        def __iter__(self):
            return iter([sparse.csr_array(counts[:60]), sparse.csr_array(counts[60:])])

    found = dg.ReplicatedSoftmax(3, n_epochs=3, random_state=0).fit(Batches())
    assert found.n_updates_ > 3
    assert np.isfinite(found.model_.weights[0]).all()


@pytest.mark.parametrize(("rows", "message"), [
    (np.full((3, WORDS), 0.25), "got 0.25 in row 0, column 0.*TF-IDF and frequencies"),
    (np.full((3, WORDS), -1), "Negative values in data"),
    (np.full((3, WORDS), np.nan), "be finite"),
    (np.zeros((0, WORDS)), "0 sample"),
])  # fmt: skip
def test_bad_rows_leave_the_estimator_as_it_was(rows, message):
    """Would catch TF-IDF taken for counts, and a model lost to a bad call."""
    topics = dg.ReplicatedSoftmax(3, n_epochs=1, random_state=0).fit(documents()[0])
    before = topics.model_
    for call in (topics.fit, topics.partial_fit):
        with pytest.raises(ValueError, match=message):
            call(rows)
        assert topics.model_ is before


@pytest.mark.parametrize(("settings", "message"), [
    ({"n_hidden": 0}, "n_hidden"), ({"rule": "rbm"}, "rule must be 'cd', 'pcd'"),
    ({"learning_rate": -1.0}, "learning_rate"), ({"batch_size": 0}, "batch_size"),
])  # fmt: skip
def test_wrong_settings_are_named(settings, message):
    """Would catch a setting that is refused only after the run, or by another name."""
    with pytest.raises(ValueError, match=message):
        dg.ReplicatedSoftmax(**settings).fit(documents()[0])


def test_all_documents_empty_learn_nothing():
    """Would catch a division by no words, and weights that are not finite."""
    topics = dg.ReplicatedSoftmax(3, n_epochs=1, random_state=0).fit(np.zeros((10, 5), int))
    assert np.isfinite(topics.model_.weights[0]).all()
    assert topics.score(np.zeros((2, 5), int)) == pytest.approx(0.0, abs=1e-4)


def test_a_run_goes_on_with_the_same_bits(tmp_path):
    """Would catch a checkpoint that forgets momentum, averages or the place in the rows."""
    counts, path = documents()[0], tmp_path / "run.ckpt"

    def stop(report):
        if report.epoch == 2:
            raise RuntimeError("power cut")

    def make(callbacks):
        return dg.ReplicatedSoftmax(3, n_epochs=6, random_state=3, callbacks=callbacks)

    whole = make(None).fit(counts)
    with pytest.raises(RuntimeError, match="power cut"):
        make([dg.Checkpoint(path), stop]).fit(counts)
    assert_same_model(make(None).fit(counts, resume=path).model_, whole.model_)


def test_a_stream_cut_elsewhere_and_kept_gives_the_same_bits(tmp_path):
    """Would catch batches that follow the calls, and a stream that its checkpoint changes."""
    counts = sparse.csr_array(documents(300)[0])
    whole = dg.ReplicatedSoftmax(3, random_state=0).partial_fit(counts)
    parts = dg.ReplicatedSoftmax(3, random_state=0).partial_fit(counts[:100])
    parts.save_checkpoint(tmp_path / "stream")
    other = dg.ReplicatedSoftmax(3).load_checkpoint(tmp_path / "stream")
    other.partial_fit(counts[100:])
    assert_same_model(whole.model_, other.model_)


def test_files_keep_the_model_and_its_names(tmp_path):
    """Would catch a file that comes back as an RBM, or whose usual length is lost."""
    counts = pd.DataFrame(documents()[0], columns=[f"w{k}" for k in range(WORDS)])
    topics = dg.ReplicatedSoftmax(3, n_epochs=2, random_state=0).fit(counts)
    topics.save(tmp_path / "topics.safetensors")
    loaded = dg.load(tmp_path / "topics.safetensors")
    assert type(loaded) is dg.ReplicatedSoftmax
    assert_same_model(loaded.model_, topics.model_)
    assert loaded.model_.layers[0].usual_trials == topics.model_.layers[0].usual_trials
    assert_same_bits(loaded.transform(counts), topics.transform(counts))
    assert loaded.score_samples(counts)[0] == topics.score_samples(counts)[0]
    assert loaded.top_words(2) == topics.top_words(2)


def test_texts_go_through_a_pipeline_and_a_search():
    """Would catch counts of CountVectorizer that are refused, or a score that cannot be searched
    by."""
    texts = ["ball goal team goal", "orbit moon rocket", "team ball", "moon orbit"] * 10
    made = make_pipeline(
        CountVectorizer(), dg.ReplicatedSoftmax(2, n_epochs=2, random_state=0)
    )
    assert made.fit_transform(texts).shape == (40, 2)
    search = GridSearchCV(made, {"replicatedsoftmax__n_hidden": [1, 2]}, cv=2).fit(texts)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
