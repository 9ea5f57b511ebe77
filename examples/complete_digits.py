"""
Complete what is missing
========================

Complete digits whose lower half is missing, with error bars. Takes a few seconds; nothing is
downloaded. Needs matplotlib: ``pip install 'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import deepgen as dg
from deepgen.plots import plot_completions

X = (load_digits().data > 7).astype(np.uint8)  # ink or paper: binary data
X_train, X_test = train_test_split(X, test_size=200, random_state=0)
rbm = dg.RBM(n_hidden=100, random_state=0).fit(X_train)

missing = np.zeros(X_test.shape, bool)
missing[:, 32:] = True  # the lower four rows; in float data NaN would say the same
completed, deviation = rbm.impute(X_test, missing, return_std=True, random_state=0)


def root_mean_square(error):
    return np.sqrt((error[missing].astype(float) ** 2).mean())


print("root mean square error of the missing pixels")
print(f"  column means:        {root_mean_square(X_train.mean(axis=0) - X_test):.3f}")
print(f"  completed:           {root_mean_square(completed - X_test):.3f}")
print(f"  as the RBM expects:  {root_mean_square(deviation):.3f}")

# %%
# Blue pixels were not given; grey ones are those that the chains disagree about.

plot_completions(X_test[:10], ~missing[:10], completed[:10])
plt.show()
