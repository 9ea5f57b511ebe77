"""
Recommending films
==================

Learn from ratings, predict those that are held out, recommend films to a user, find similar films
and draw them all. With MovieLens 100k in ``$DEEPGEN_DATA/movielens100k`` the films are real;
without it ratings of made-up films are drawn here. Takes some seconds, nothing is downloaded.
"""

import matplotlib.pyplot as plt
import numpy as np

import deepgen as dg
from deepgen import plots


def movielens():
    """Return MovieLens 100k, to learn from and to test, and titles by number of the film."""
    data = dg.datasets.load_movielens("100k", split="ua")
    users, films = (np.arange(1, n + 1) for n in data.train.shape)  # numbers of the release
    parts = (dg.Ratings(part, users, films, [1, 2, 3, 4, 5]) for part in (data.train, data.test))
    return *parts, dict(zip(films.tolist(), data.titles, strict=True))


def made_up(n_users=300):
    """Return ratings of made-up films in the same form: users have tastes, and films have kinds."""
    rng = np.random.default_rng(0)
    kinds = {
        "Western": ["Dust", "The Last Saddle", "Two Rivers", "High Mesa", "Marshal", "Coyote"],
        "Space": ["Orbit", "The Long Dark", "Europa", "Docking", "Red Planet Blues", "Airlock"],
        "Romance": ["Letters", "Late Train", "June", "The Florist", "Second Waltz", "Balcony"],
        "Horror": ["The Cellar", "Hollow", "Whisper", "Night Shift", "Teeth", "Do Not Answer"],
    }
    titles = [f"{name} ({kind})" for kind, names in kinds.items() for name in names]
    kind = np.arange(len(titles)) // 6
    taste = rng.normal(0.0, 1.2, (n_users, len(kinds)))
    wish = 3.3 + taste[:, kind] + rng.normal(0.0, 0.5, len(titles))
    values = np.clip(np.round(wish + rng.normal(0.0, 0.5, wish.shape)), 1, 5)
    users, items = np.nonzero(rng.random(wish.shape) < 0.4)
    ratings = dg.Ratings.from_triples(users + 1, items + 1, values[users, items])
    return *ratings.split(0.1, random_state=0), dict(enumerate(titles, start=1))


try:
    train, test, titles = movielens()
except FileNotFoundError:
    print("There is no MovieLens 100k here: these films are made up.")
    train, test, titles = made_up()
print(train)

# %%
# One model with a row for each film, one with a row for each user, and both together. Weights come
# from a slice that neither has learned from.

learned, slice_ = train.split(0.05, random_state=1)
films = dg.RatingsRBM(rows="items", random_state=0).fit(learned)
people = dg.RatingsRBM(rows="users", random_state=0).fit(learned)


def predictions(part):
    """Return what each model predicts of some ratings, and these."""
    pairs = part.matrix.tocoo()
    users, items = part.user_ids[pairs.coords[0]], part.item_ids[pairs.coords[1]]
    return [films.predict(users, items), people.predict(users, items)], pairs.data


def error(predicted, wanted):
    """Return the root of the mean squared error."""
    return np.sqrt(np.mean((predicted - wanted) ** 2))


blend = dg.blend(*predictions(slice_))
both, wanted = predictions(test)
print(f"error of the mean of all ratings:  {error(train.matrix.data.mean(), wanted):.3f}")
print(f"error with rows of films:          {error(both[0], wanted):.3f}")
print(f"error with rows of users:          {error(both[1], wanted):.3f}")
print(f"error of both together:            {error(blend.predict(both), wanted):.3f}")

# %%
# What somebody liked, and what the model recommends: nothing that is among the given ratings.

counts = np.diff(train.matrix.indptr)
user = train.user_ids[np.argsort(-counts, kind="stable")[len(counts) // 3]]
row = train.matrix[[train.user_ids.tolist().index(user)]].tocoo()
liked = train.item_ids[row.coords[1][np.argsort(-row.data, kind="stable")[:6]]]
print(f"user {user} has rated {row.nnz} films and liked")
for item in liked:
    print("      ", titles[item])
ids, scores = films.recommend(train, 6, users=user)
print("and may like")
for item, score in zip(ids[0], scores[0], strict=True):
    print(f"  {score:.2f}  {titles[item]}")

# %%
# Somebody new, who was not there in training: rows of users answer from the ratings alone. A film
# that three people have rated may have the highest expectation of all, so only those are asked for
# that at least twenty have rated.

known = np.diff(train.matrix.tocsc().indptr)
often = train.item_ids[np.argsort(-known, kind="stable")][: (known >= 20).sum()]
new = dg.Ratings.from_triples(["new"] * 3, often[:3], [5, 5, 1], scale=train.scale)
ids, scores = people.recommend(new, 3, among=often)
print(f"Liked {titles[often[0]]} and {titles[often[1]]}, not {titles[often[2]]}:")
print("      ", "; ".join(titles[item] for item in ids[0]))

# %%
# Films like some that many know, and a picture of the 150 that most have rated: the two directions
# in which their features differ most.

for item in often[:4]:
    near, cosines = films.similar_items(item, 3)
    print(f"like {titles[item]}: {'; '.join(titles[other] for other in near)}")
places = np.searchsorted(films.item_ids_, often[:150])
names = [titles[item] for item in often[:150]]
_, axes = plt.subplots(figsize=(9, 7), layout="constrained")
plots.plot_items(films.item_features()[places], names, ax=axes)
axes.set_title("Films by what hidden units know of them")
plt.show()
