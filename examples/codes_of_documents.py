"""
Codes of documents
==================

Squeeze counts of words into two numbers with a deep autoencoder and draw them, then compare how
well codes retrieve: of the autoencoder, of a replicated softmax and of LSA. The documents are made
here, of one main theme each; takes some seconds, nothing is downloaded.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer

import deepgen as dg
from deepgen import plots
from deepgen.retrieval import evaluate

THEMES = ["space", "baseball", "cooking", "music", "medicine", "gardens"]
N_WORDS, N_TRAIN, N_TEST = 300, 1600, 300
rng = np.random.default_rng(0)
# of each theme: how often it has each word; a third of a document's words are those of all themes
of_theme = rng.dirichlet(np.full(N_WORDS, 0.05), len(THEMES))
of_all = rng.dirichlet(np.full(N_WORDS, 0.5))


def document(main):
    """Return the counts of a document that is mainly of one theme."""
    shares = rng.dirichlet(np.where(np.arange(len(THEMES)) == main, 2.0, 0.2))
    return rng.multinomial(5 + rng.poisson(40), 0.65 * shares @ of_theme + 0.35 * of_all)


mains = rng.integers(len(THEMES), size=N_TRAIN + N_TEST)
counts = sparse.csr_array([document(main) for main in mains])
train, test = counts[:N_TRAIN], counts[N_TRAIN:]
labels = np.array(THEMES)[mains]

# %%
# Two numbers of each document. What the autoencoder learns is the distribution of a word.

auto = dg.DeepAutoencoder((100, 50, 2), visible="multinomial", n_epochs=30, random_state=0)
auto.fit(train)
axes = plots.plot_codes(auto.transform(test), labels[N_TRAIN:], names="points")
axes.set_title("Documents that it has not learned from, by two numbers each")
plt.show()

# %%
# Retrieval by eight numbers a document: relevant is what has the same main theme.

topics = dg.ReplicatedSoftmax(8, random_state=0).fit(train)
deep = dg.DeepAutoencoder((100, 50, 8), visible="multinomial", n_epochs=30, random_state=0)
deep.fit(train)
weighted = TfidfTransformer(sublinear_tf=True).fit(train)
lsa = TruncatedSVD(8, random_state=0).fit(weighted.transform(train))
codes = {
    "replicated softmax, fields": lambda X: topics.transform(X, quantity="field"),
    "deep autoencoder": deep.transform,
    "LSA on TF-IDF": lambda X: lsa.transform(weighted.transform(X)),
}
retrieved = {}
for name, code in codes.items():
    retrieved[name] = evaluate(
        code(test), labels[N_TRAIN:], code(train), labels[:N_TRAIN], centre="LSA" not in name
    )
    print(f"{name:28s} mean average precision {retrieved[name].mean_average_precision:.3f}")
plots.plot_precision_recall(retrieved)
plt.show()
