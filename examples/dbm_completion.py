"""
Complete digits with two layers
===============================

A deep Boltzmann machine, whose layers learn together after a greedy start, completes digits beside
an RBM, and three numbers say whether its second layer is in use. Takes some ten seconds; nothing is
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
momentum = dg.SGD(momentum=0.9)  # 16 updates an epoch are few: momentum makes more of them
rate = dg.Linear(0.05, 0.0)
rbm = dg.RBM(40, n_epochs=60, optimizer=momentum, learning_rate=rate, random_state=0)
rbm.fit(X_train)
dbm = dg.DBM(
    (40, 20), n_epochs=60, optimizer=dg.SGD(momentum=0.9, rates=(1.0, 1.0)),
    learning_rate=rate, random_state=0,
    pretrained=dg.Pretraining(20, learning_rate=rate, optimizer=momentum),
).fit(X_train)  # fmt: skip

# %%
# Is the second layer in use? Where it is not, its weights stay near zero: the machine is an RBM.

second = dbm.posterior(X_test)[1]
lowest = dg.BoltzmannMachine(dbm.model_.layers[:2], dbm.model_.weights[:1])
for machine in (rbm, dbm):
    machine.log_partition(n_chains=50, n_betas=500)
print(f"largest weight of the second layer:   {np.abs(dbm.model_.weights[1]).max():.2f}")
print(f"mean of q (1 - q) of its means:       {(second * (1 - second)).mean():.3f}")
print("nats a held-out digit, at the lower end of the bracket")
print(f"  RBM:                                {rbm.score(X_test):.2f}")
print(f"  DBM, a bound:                       {dbm.score(X_test):.2f}")
print(f"  DBM without its second layer:       {dg.RBM.from_model(lowest).score(X_test):.2f}")

# %%
# The lower half is missing. Chains of each model go on from what is there.

missing = np.zeros(X_test.shape, bool)
missing[:, 32:] = True
rows = {}
for name, machine in (("RBM", rbm), ("DBM", dbm)):
    rows[name] = machine.impute(X_test, missing, n_sweeps=50, random_state=0)
    error = (rows[name] - X_test)[missing].astype(float)
    print(f"{name}: root mean square error of the missing pixels {np.sqrt((error**2).mean()):.3f}")

# %%
# Blue pixels were not given; grey ones are those that the chains disagree about.

plot_completions(X_test[:10], ~missing[:10], {name: C[:10] for name, C in rows.items()})
plt.show()
