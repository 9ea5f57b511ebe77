"""Choose the size of a mixture of Bernoullis on digits by its exact likelihood, then complete.

Takes a few seconds; nothing is downloaded.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

import deepgen as dg

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

drawing = mixture.sample(3, random_state=0).reshape(3, 8, 8)
for line in range(8):
    print("   ".join("".join(" #"[bit] for bit in digit[line]) for digit in drawing))
