"""
Train, score, sample
====================

Train an RBM on scikit-learn's 8 x 8 digits, bracket the likelihood of held-out digits, and draw
new ones. Takes a few seconds; nothing is downloaded. Needs matplotlib: ``pip install
'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import deepgen as dg
from deepgen.plots import plot_samples

X = (load_digits().data > 7).astype(np.uint8)  # ink or paper: binary data
X_train, X_test = train_test_split(X, test_size=0.2, random_state=0)

rbm = dg.RBM(n_hidden=100, random_state=0).fit(X_train)

# %%
# The likelihood of independent pixels is what any model should beat.
p = (X_train.sum(axis=0) + 1) / (len(X_train) + 2)
independent = (X_test * np.log(p) + (1 - X_test) * np.log(1 - p)).sum(axis=1)
print(f"independent pixels: {independent.mean():.1f} nats a held-out digit")

log_z = rbm.log_partition()  # a bracket: lower, value, upper
scores = rbm.score_samples(X_test)  # log-likelihoods with log Z at log_z.value
low, high = scores.mean() + log_z.value - np.array([log_z.upper, log_z.lower])
print(f"RBM:                {low:.1f} to {high:.1f}")
print(f"least likely held-out digit: row {scores.argmin()}, {scores.min():.1f} nats")

# %%
# Digits that nobody wrote, each from a Gibbs chain of its own.

plot_samples(rbm.sample(40, random_state=1), n_columns=10)
plt.show()
