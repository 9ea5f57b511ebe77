"""
An autoencoder of one hidden layer
==================================

Learn features of scikit-learn's 8 x 8 digits by rebuilding them from damaged copies, and repair
damaged digits that were held out. Takes a few seconds; nothing is downloaded. Needs matplotlib:
``pip install 'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

import deepgen as dg
from deepgen.plots import plot_filters, plot_reconstructions

X = (load_digits().data / 16.0).astype(np.float32)
X_train, X_test = train_test_split(X, test_size=300, random_state=0)
kept = np.random.default_rng(0).random(X_test.shape) >= 0.3
damaged = X_test * kept  # three pixels of ten are lost

settings = {
    "n_epochs": 60, "learning_rate": dg.Linear(0.01, 0.0), "l2": 0.002, "random_state": 0,
}  # fmt: skip
plain = dg.Autoencoder(100, **settings).fit(X_train)
denoising = dg.Autoencoder(100, masking=0.3, **settings).fit(X_train)


def rebuilt(auto, rows):
    return auto.inverse_transform(auto.transform(rows))


# PCA with the number of components that repairs best: a fair rival knows how many to keep
repairs = {}
for n_components in (5, 10, 15, 20, 30):
    pca = PCA(n_components).fit(X_train)
    repairs[n_components] = pca.inverse_transform(pca.transform(damaged))
errors = {n: ((repair - X_test) ** 2).sum(axis=1).mean() for n, repair in repairs.items()}
best = min(errors, key=errors.get)

print("squared error of a damaged digit after repair, held-out digits")
print(f"  not repaired:             {((damaged - X_test) ** 2).sum(axis=1).mean():.2f}")
print(f"  PCA, {best} components:       {errors[best]:.2f}")
for name, auto in {"plain autoencoder": plain, "denoising autoencoder": denoising}.items():
    error = ((rebuilt(auto, damaged) - X_test) ** 2).sum(axis=1).mean()
    print(f"  {name + ':':25} {error:.2f}")

# %%
# The errors on the left are those of all 300 held-out digits.

plot_reconstructions(
    X_test,
    {
        "damaged": damaged,
        f"PCA, {best}": repairs[best],
        "plain": rebuilt(plain, damaged),
        "denoising": rebuilt(denoising, damaged),
    },
)
plt.show()

# %%
# Weights of the hidden units: red raises a unit, blue lowers it.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.8), layout="constrained")
plot_filters(plain, ax=left).set_title("trained on whole digits")
plot_filters(denoising, ax=right).set_title("trained on damaged digits")
plt.show()
