"""
Watch the likelihood
====================

Watch the likelihood of held-out digits while an RBM learns, then bracket it. Takes some seconds;
nothing is downloaded. Needs matplotlib: ``pip install 'deepgen[demo]'``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import deepgen as dg
from deepgen.plots import plot_history

X = (load_digits().data > 7).astype(np.uint8)  # ink or paper: binary data
X_train, X_valid = train_test_split(X, test_size=0.2, random_state=0)

monitor = dg.LikelihoodMonitor(X_valid)
rbm = dg.RBM(n_hidden=50, n_epochs=100, random_state=0, callbacks=[monitor]).fit(X_train)

print("epoch   held-out nats   log Z along the way")
for entry in rbm.history_[9::10]:
    print(
        f"{entry['epoch']:5}   {entry['log_likelihood']:13.2f}   {entry['log_partition']:7.2f} "
        f"+- {entry['log_partition_error']:.2f}"
    )

plot_history(rbm.history_, "log_likelihood")
plt.show()

# %%
# The monitor knows only the modes that its chains visit: a final model deserves a bracket.
log_z = rbm.log_partition()
print(f"bracket of log Z: {log_z.lower:.2f} to {log_z.upper:.2f} ({log_z.method})")
print(f"held-out digits at its pessimistic end: {rbm.score(X_valid):.2f} nats")
pseudo = dg.pseudo_log_likelihood(rbm.model_, X_valid, n_sites=None)
print(f"pseudo-likelihood, for those who compare: {pseudo.mean():.2f} nats")
