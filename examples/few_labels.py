"""
Few labels, many rows
=====================

Classify digits of which some have a label: a deep classifier that starts from all rows, beside one
that starts at random. Takes some ten seconds; nothing is downloaded. Needs matplotlib:
``pip install 'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

import deepgen as dg

X, y = load_digits(return_X_y=True)
X = (X / 16.0).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=600, stratify=y, random_state=0)
settings = {"n_epochs": 150, "learning_rate": dg.Linear(0.01, 0.0), "unlabelled": -1}
# 12 updates an epoch are few: momentum makes more of them
pretraining = dg.Pretraining(
    40, learning_rate=dg.Linear(0.1, 0.0), optimizer=dg.SGD(momentum=0.9)
)  # fmt: skip

# %%
# Draws of a few labels differ much, so each number is a mean over draws. -1 says: no label.

print("accuracy on 600 held-out digits, in %: mean over 3 draws of the labels (standard deviation)")
print("labels   logistic regression   nearest neighbour   random start   pretrained")
names = ["logistic regression", "nearest neighbour", "random start", "pretrained"]
_, ax = plt.subplots()
for place, n_labels in enumerate((50, 200)):
    scores = []
    for draw in range(3):
        rows = np.arange(len(y_train))
        known, _ = train_test_split(rows, train_size=n_labels, stratify=y_train, random_state=draw)
        labels = np.full(len(y_train), -1)
        labels[known] = y_train[known]
        logistic = LogisticRegression(max_iter=1000).fit(X_train[known], y_train[known])
        nearest = KNeighborsClassifier(1).fit(X_train[known], y_train[known])
        alone = dg.DeepClassifier((100,), random_state=draw, **settings).fit(X_train, labels)
        helped = dg.DeepClassifier(
            (100,), pretrained=pretraining, random_state=draw, **settings
        ).fit(X_train, labels)
        scores.append([m.score(X_test, y_test) for m in (logistic, nearest, alone, helped)])
    mean, deviation = 100 * np.mean(scores, axis=0), 100 * np.std(scores, axis=0, ddof=1)
    cells = [f"{m:.1f} ({s:.1f})" for m, s in zip(mean, deviation, strict=True)]
    print(f"{n_labels:6}   {cells[0]:^19}   {cells[1]:^17}   {cells[2]:^12}   {cells[3]:^10}")
    ax.errorbar(
        mean, np.arange(4) + 0.2 * place, xerr=deviation, fmt="o", label=f"{n_labels} labels"
    )
ax.set(yticks=np.arange(4) + 0.1, yticklabels=names, xlabel="accuracy on held-out digits, in %")
ax.legend()
plt.tight_layout()
plt.show()
