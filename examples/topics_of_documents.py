"""
Topics of documents
===================

Fit a replicated softmax to counts of words, read its topics, find similar documents, and compare
its perplexity with that of a unigram. The documents are made here, of one or two themes each; takes
a few seconds, nothing is downloaded. Needs matplotlib: ``pip install 'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

import deepgen as dg
from deepgen.retrieval import nearest

THEMES = {
    "space": "orbit moon launch rocket telescope satellite planet shuttle crew comet",
    "baseball": "pitcher inning bat league catcher season glove coach team stadium",
    "cooking": "oven butter garlic onion recipe flour sauce pan pepper taste",
    "music": "guitar melody chorus drums concert singer piano album rhythm band",
    "medicine": "patient doctor dose clinic vaccine symptom nurse treatment trial surgery",
    "gardens": "seed soil tomato prune shovel bloom hedge compost lawn spring",
}
COMMON = ["people", "time", "new", "year", "good", "know", "make", "day", "work", "long"]
NAMES = list(THEMES)
rng = np.random.default_rng(0)


def document():
    """Return a text of one or two themes, and its main theme."""
    main, other = rng.choice(len(NAMES), 2, replace=False)
    words = []
    for _ in range(10 + rng.poisson(30)):
        kind = rng.random()
        source = COMMON if kind < 0.3 else THEMES[NAMES[main if kind < 0.85 else other]].split()
        words.append(source[min(rng.geometric(0.2) - 1, len(source) - 1)])
    return " ".join(words), main


texts, themes = zip(*(document() for _ in range(1500)), strict=True)
vectorizer = CountVectorizer()
counts = vectorizer.fit_transform(texts)  # CSR, as it is read; TF-IDF would be refused
words = vectorizer.get_feature_names_out()
train, test = counts[:1200], counts[1200:]

# %%
# Topics are read by the words whose weights stand out from the mean over all topics. A topic is a
# feature that is on in some documents and off in others, not a theme: several are on in one.

topics = dg.ReplicatedSoftmax(8, random_state=0).fit(train)
for number, top in enumerate(topics.top_words(7, words)):
    print(f"topic {number}: {' '.join(top)}")

# %%
# The same as a picture: how much a topic adds to the log-odds of its words.

_, panels = plt.subplots(2, 4, figsize=(10, 4.5), layout="constrained")
for panel, weights in zip(panels.flat, topics.components_, strict=True):
    best = np.argsort(weights)[-7:]
    panel.barh([words[word] for word in best], weights[best])
plt.show()

# %%
# Similar documents: fields by the word, without their mean, and cosines between them.

known, asked = (topics.transform(rows, quantity="field") for rows in (train, test))
ids, _ = nearest(asked, known, n=10, centre=True)
themes = np.array(themes)
same = themes[:1200][ids] == themes[1200:, None]
print(f"of the 10 nearest documents {same.mean():.0%} have the same main theme")
print(f"held out: {' '.join(texts[1200].split()[:8])} ...")
print(f"nearest:  {' '.join(texts[ids[0, 0]].split()[:8])} ...")

# %%
# Perplexity: of held-out documents, by the document, beside that of the frequencies of words alone.

frequencies = np.asarray(train.sum(axis=0)).ravel() + 1.0
lengths = np.asarray(test.sum(axis=1)).ravel()
unigram = np.exp(-np.mean(test @ np.log(frequencies / frequencies.sum()) / lengths))
topics.log_partition(test, n_chains=100, n_betas=300)
print(f"perplexity of a unigram:           {unigram:.1f}")
print(f"perplexity of replicated softmax:  {topics.perplexity(test):.1f} at the most")

# %%
# Words that are missing, given the others: the likeliest five of ten.

missing = topics.impute(test[:1], 10, random_state=0)[0]
print("likely to follow:", " ".join(words[np.argsort(-missing)[:5]]))
