"""
A deep autoencoder
==================

Squeeze scikit-learn's 8 x 8 digits into five numbers, beside PCA, and into two to look at them.
Takes some ten seconds; nothing is downloaded. Needs matplotlib: ``pip install 'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

import deepgen as dg
from deepgen.plots import plot_codes, plot_reconstructions

X, y = load_digits(return_X_y=True)
X = (X / 16.0).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.25, stratify=y, random_state=0
)
settings = {"n_epochs": 100, "learning_rate": dg.Linear(0.01, 0.0), "random_state": 0}

auto = dg.DeepAutoencoder((100, 30, 5), **settings).fit(X_train)
pca = PCA(5).fit(X_train)
by_auto = auto.inverse_transform(auto.transform(X_test))
by_pca = pca.inverse_transform(pca.transform(X_test))
print("squared error of a held-out digit, rebuilt from 5 numbers")
print(f"  PCA:          {((X_test - by_pca) ** 2).sum(axis=1).mean():.2f}")
print(f"  autoencoder:  {auto.reconstruction_error(X_test).mean():.2f}")

# %%
# One held-out digit of each class; the errors are those of all.

one_of_each = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
plot_reconstructions(X_test, {"autoencoder": by_auto, "PCA": by_pca}, draw=one_of_each)
plt.show()

# %%
# Codes of two numbers. Neither the autoencoder nor PCA has seen a label.

flat = dg.DeepAutoencoder((100, 30, 2), **settings).fit(X_train)
pca = PCA(2).fit(X_train)
by_pca = pca.inverse_transform(pca.transform(X_test))
print("squared error of a held-out digit, rebuilt from 2 numbers")
print(f"  PCA:          {((X_test - by_pca) ** 2).sum(axis=1).mean():.2f}")
print(f"  autoencoder:  {flat.reconstruction_error(X_test).mean():.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
plot_codes(pca.transform(X_test), y_test, ax=left).set_title("PCA, held-out digits")
left.get_legend().remove()
plot_codes(flat.transform(X_test), y_test, ax=right).set_title("autoencoder, held-out digits")
plt.show()
