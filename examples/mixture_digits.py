"""
A mixture of Bernoullis
=======================

Choose the size of a mixture of Bernoullis on digits by its exact likelihood, then complete. Takes
a few seconds; nothing is downloaded. Needs matplotlib: ``pip install 'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

import deepgen as dg
from deepgen.plots import plot_samples

X = (load_digits().data > 7).astype(np.uint8)  # ink or paper: binary data
X_train, X_test = train_test_split(X, test_size=300, random_state=0)

sizes = {"n_components": [1, 10, 30, 100]}
search = GridSearchCV(dg.MixtureOfBernoullis(n_init=2, random_state=0), sizes, cv=3)
search.fit(X_train)
for n_components, score in zip(
    sizes["n_components"], search.cv_results_["mean_test_score"], strict=True
):
    print(f"{n_components:4d} components: {score:.2f} nats a held-out digit")

mixture = search.best_estimator_
print(f"test digits under {mixture.n_components} components: {mixture.score(X_test):.2f} nats")

missing = np.zeros(X_test.shape, bool)
missing[:, 32:] = True  # the lower four rows; in float data NaN would say the same
completed, deviation = mixture.impute(X_test, missing, return_std=True)
error = completed[missing] - X_test[missing]
print(f"lower halves completed: root mean square error {np.sqrt(np.mean(error**2)):.3f}")
print(f"           as expected: {np.sqrt(np.mean(deviation[missing] ** 2)):.3f}")

# %%
# The means of the first components: each is a way to write a digit.

means = 1.0 / (1.0 + np.exp(-mixture.model_.logits.T))
plot_samples(means[:40], n_columns=10)
plt.show()
