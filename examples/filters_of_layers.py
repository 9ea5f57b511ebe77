"""
Filters of two layers
=====================

Look at what the first and the second layer of a stack have learned from scikit-learn's 8 x 8
digits. Takes a few seconds; nothing is downloaded. Needs matplotlib:
``pip install 'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import deepgen as dg
from deepgen.plots import plot_filters

X = (load_digits().data > 7).astype(np.uint8)  # ink or paper: binary data
X_train, X_test = train_test_split(X, test_size=300, random_state=0)

settings = {
    "rule": "cd", "learning_rate": dg.Linear(0.1, 0.0), "optimizer": dg.SGD(momentum=0.9),
    "n_epochs": 100, "random_state": 0,
}  # fmt: skip
first = dg.RBM(64, **settings).fit(X_train)
second = dg.RBM(64, **settings).fit(first.transform(X_train))
stack = [first.model_, second.model_]

# %%
# A held-out digit goes up both layers and back down: what is lost on the way?

mean = X_train.mean(axis=0)
for n_layers in (1, 2):
    rebuilt = dg.unrolled(stack[:n_layers]).forward(X_test)
    error = ((rebuilt - X_test) ** 2).sum(axis=1).mean()
    print(f"squared error through {n_layers} layer{'s' * (n_layers > 1)}: {error:.2f}")
print(f"squared error of the mean digit: {((mean - X_test) ** 2).sum(axis=1).mean():.2f}")

# %%
# A unit of the second layer is drawn as the sum of first-layer filters, each times its weight.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.8), layout="constrained")
plot_filters(stack, ax=left).set_title("first layer")
plot_filters(stack, layer=2, ax=right).set_title("second layer")
plt.show()
