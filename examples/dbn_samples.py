"""
A deep belief network beside simpler models
===========================================

Three models of the same digits, judged by their likelihood of held-out ones and by what they draw:
a mixture, an RBM and a deep belief network. Takes a few seconds; nothing is downloaded. Needs
matplotlib: ``pip install 'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import deepgen as dg
from deepgen.plots import plot_side_by_side

X = (load_digits().data > 7).astype(np.uint8)  # ink or paper: binary data
X_train, X_test = train_test_split(X, test_size=300, random_state=0)

mixture = dg.MixtureOfBernoullis(30, random_state=0).fit(X_train)

# %%
# The second layer starts as the first one, turned over: the network starts as good as that RBM.
# Layers read drawn features, which its likelihood is about.

dbn = dg.DBN(
    (64, 100), n_epochs=(200, 40), learning_rate=[None, dg.Linear(0.01, 0.0)],
    transposed=True, random_state=0,
).fit(X_train)  # fmt: skip
rbm = dg.RBM.from_model(dbn.stack_[0])  # the first layer alone

# %%
# The mixture's likelihood is exact. The other two are at the lower end of the bracket of log Z, and
# the belief network's is a bound from below besides.

print(f"mixture of 30: {mixture.score(X_test):.2f} nats a held-out digit")
print(f"RBM 64-64:     {rbm.score(X_test):.2f}")
print(f"DBN 64-64-100: {dbn.score(X_test):.2f}")

# %%
# What they draw.

kinds = {
    "held-out digits": X_test[:25],
    "mixture": mixture.sample(25, random_state=0),
    "RBM": rbm.sample(25, random_state=0),
    "DBN": dbn.sample(25, random_state=0),
}
figure, ax = plt.subplots(figsize=(9, 2.8), layout="constrained")
plot_side_by_side(kinds, ax=ax)
plt.show()
