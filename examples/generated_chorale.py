"""
A generated chorale
===================

Learn chords that follow each other, draw a new piece, and write it to a MIDI file with mido
(``pip install 'deepgen[music]'``). The pieces are made here: three voices over a cadence in some
key; takes some seconds, nothing is downloaded or played. With
``deepgen.datasets.load_piano_rolls("jsb").train`` in their place it writes chorales.
"""

import matplotlib.pyplot as plt
import numpy as np

import deepgen as dg

LOWEST = 48  # the MIDI number of the first column
CADENCE = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7))  # I IV V I, in half tones
rng = np.random.default_rng(0)


def piece():
    """Return a piano roll, (n_frames, 36): a cadence again and again, two frames a chord."""
    key, n_rounds = int(rng.integers(0, 12)), int(rng.integers(2, 5))
    frames = np.zeros((8 * n_rounds, 36), np.uint8)
    for t in range(len(frames)):
        frames[t, [key + note for note in CADENCE[t // 2 % 4]]] = 1
    return frames


pieces = [piece() for _ in range(80)]
train, test = pieces[:70], pieces[70:]

# %%
# Each frame is a machine of its own, whose biases come from the frames before. The score is the
# lower end of the likelihood of a frame; the report says how far it can be believed.

model = dg.TemporalRBM(40, n_recurrent=60, n_epochs=120, random_state=0).fit(train)
score = model.score(test)
variance = model.likelihood_report_["mean_variance"]
print(f"held out: {score:.2f} nats a frame, weights vary by {variance:.3f}")

# %%
# A piece that begins as a held-out one, and goes on by itself.

roll = model.sample(24, prefix=test[0][:4], random_state=1)[0]
plt.figure(figsize=(6, 3), layout="constrained")
plt.imshow(roll.T, cmap="Greys", origin="lower", extent=(0, len(roll), LOWEST, LOWEST + 36))
plt.axvline(4, color="tab:red")  # what was given ends here
plt.xlabel("frame")
plt.ylabel("MIDI note")
plt.show()

# %%
# A note sounds from the frame in which it begins to the one in which it ends: a message for both.


def write(roll, path, ticks=240):
    """Write a piano roll to a MIDI file, a frame an eighth."""
    import mido

    track = mido.MidiTrack()
    waited, sounding = 0, np.zeros(roll.shape[1], bool)
    for frame in [*roll.astype(bool), np.zeros(roll.shape[1], bool)]:
        for column in np.flatnonzero(frame != sounding):
            kind = "note_on" if frame[column] else "note_off"
            note = LOWEST + int(column)
            track.append(mido.Message(kind, note=note, velocity=64, time=waited))
            waited = 0
        sounding, waited = frame, waited + ticks
    mido.MidiFile(tracks=[track]).save(path)


try:
    write(roll, "chorale.mid")
except ImportError:
    print("pip install 'deepgen[music]' to write it to a file")
else:
    print("written to chorale.mid")
