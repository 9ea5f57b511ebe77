"""Squeeze scikit-learn's 8 x 8 digits into five numbers, beside PCA; then learn from few labels.

Takes some ten seconds; nothing is downloaded.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

import deepgen as dg

X, y = load_digits(return_X_y=True)
X = (X / 16.0).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)

auto = dg.DeepAutoencoder(
    (100, 30, 5), n_epochs=200, learning_rate=dg.Linear(0.01, 0.0), random_state=0
).fit(X_train)
pca = PCA(5).fit(X_train)
by_pca = ((X_test - pca.inverse_transform(pca.transform(X_test))) ** 2).sum(axis=1)
print(f"squared error of a held-out digit by 5 numbers: PCA {by_pca.mean():.2f}, "
      f"autoencoder {auto.reconstruction_error(X_test).mean():.2f}")  # fmt: skip

few = np.where(np.arange(len(y_train)) < 100, y_train, -1)  # -1: no label
settings = {"n_epochs": 400, "learning_rate": dg.Linear(0.01, 0.0), "random_state": 0}
alone = dg.DeepClassifier((100,), **settings).fit(X_train, few)
helped = dg.DeepClassifier((100,), pretrained=dg.Pretraining(100), **settings).fit(X_train, few)
print(f"accuracy from 100 labels: {alone.score(X_test, y_test):.3f}, with pretraining on all rows "
      f"{helped.score(X_test, y_test):.3f}")  # fmt: skip
