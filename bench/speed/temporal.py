"""Sequences: an epoch of RNN-RBM on the JSB chorales, beside the same model in torch."""

import statistics
import sys
import time

import numpy as np

from bench.speed import fresh, machine, rounds

TIMEOUT = 600  # seconds, for one process
N_HIDDEN, N_RECURRENT, N_GIBBS, BATCH_SIZE, RATE = 150, 200, 5, 8, 0.01
SYSTEMS = ("deepgen", "torch")


def run(*, n_rounds, n_threads, n_epochs, peer_python):
    """Measure epochs of both in turn and print them as Markdown."""
    print(*machine.describe(n_threads), sep="\n")
    print(
        f"JSB chorales, 229 pieces of 13,807 frames; {N_HIDDEN} hidden, {N_RECURRENT} recurrent "
        f"units, CD-{N_GIBBS}, Adam, {BATCH_SIZE} pieces an update, float32; the median of "
        f"{n_epochs} epochs after one to warm up; {n_rounds} rounds in turn, a fresh process each "
        "time; median (min..max). Frames of a batch are padded in torch, whose recurrence and "
        "gradient are its own (`torch.nn.RNN`, autograd).",
        flush=True,
    )
    found = rounds.in_turn(
        lambda name: fresh.call(
            time_epochs, n_threads=n_threads, timeout=TIMEOUT, name=name, n_epochs=n_epochs,
            python=peer_python if name == "torch" else sys.executable,
        ),
        SYSTEMS, n_rounds,
    )  # fmt: skip
    ours = [result["seconds"] for result in found.get("deepgen", [])]
    print("\n| system | seconds an epoch | CPU seconds | times deepgen |\n" + "| --- " * 4 + "|")
    for name, results in found.items():
        seconds = [result["seconds"] for result in results]
        cpu = rounds.spread([result["cpu"] for result in results])
        print(f"| {name} | {rounds.spread(seconds)} | {cpu} | {rounds.ratio(seconds, ours)} |")


def time_epochs(name, n_epochs):
    """Return seconds and CPU seconds of an epoch of one system."""
    from deepgen.datasets import load_piano_rolls

    pieces = load_piano_rolls("jsb").train
    marks = [(time.perf_counter(), time.process_time())]

    def mark(*_):
        marks.append((time.perf_counter(), time.process_time()))

    {"deepgen": train_deepgen, "torch": train_torch}[name](pieces, 1 + n_epochs, mark)
    seconds, cpu = np.diff(np.array(marks), axis=0)[1:].T
    return {"seconds": statistics.median(seconds), "cpu": statistics.median(cpu)}


def train_deepgen(pieces, n_epochs, on_epoch):
    """Fit `deepgen.TemporalRBM`."""
    import deepgen as dg

    return dg.TemporalRBM(
        N_HIDDEN, n_recurrent=N_RECURRENT, n_gibbs=N_GIBBS, batch_size=BATCH_SIZE, chunk=None,
        optimizer=dg.Adam(weight_decay=0.0, averaging=0.0), learning_rate=RATE, n_epochs=n_epochs,
        random_state=0, callbacks=[on_epoch],
    ).fit(pieces)  # fmt: skip


class TorchModel:
    """RNN-RBM as one writes it in torch: the loss is the mean of F(v+) - F(v-)."""

    def __init__(self, pieces, seed=0):
        import torch

        torch.manual_seed(seed)
        mean = torch.tensor(np.concatenate(pieces).mean(axis=0)).float()
        n_visible = len(mean)
        self.rnn = torch.nn.RNN(n_visible, N_RECURRENT, batch_first=True)

        def drawn(scale, *shape):
            return (scale * torch.randn(*shape)).requires_grad_()

        with torch.no_grad():
            square = torch.randn(N_RECURRENT, N_RECURRENT)
            self.rnn.weight_hh_l0.copy_(0.9 * torch.linalg.qr(square)[0])
            self.rnn.weight_ih_l0.normal_(0.0, 0.25)
        self.initial = drawn(0.0, N_RECURRENT)
        self.weights = drawn(0.01, n_visible, N_HIDDEN)
        self.visible_bias = torch.logit(mean.clamp(1e-4, 1 - 1e-4)).requires_grad_()
        self.hidden_bias = drawn(0.0, N_HIDDEN)
        self.to_visible = drawn(0.001, N_RECURRENT, n_visible)
        self.to_hidden = drawn(0.001, N_RECURRENT, N_HIDDEN)

    def parameters(self):
        """Return all parameters."""
        return [
            *self.rnn.parameters(), self.initial, self.weights, self.visible_bias,
            self.hidden_bias, self.to_visible, self.to_hidden,
        ]  # fmt: skip

    def loss(self, frames, mask):
        """Return the mean of F(v+) - F(v-) over the frames that are there.

        Parameters
        ----------
        frames : tensor of shape (n_pieces, n_frames, n_visible)
            Padded.
        mask : bool tensor of shape (n_pieces, n_frames)
        """
        import torch

        start = self.initial.expand(1, len(frames), -1).contiguous()
        after, _ = self.rnn(frames, start)
        before = torch.cat([start.transpose(0, 1), after[:, :-1]], dim=1)[mask]
        v = frames[mask]
        visible = self.visible_bias + before @ self.to_visible
        hidden = self.hidden_bias + before @ self.to_hidden
        with torch.no_grad():
            x = v
            for _ in range(N_GIBBS):
                h = torch.bernoulli(torch.sigmoid(hidden + x @ self.weights))
                x = torch.bernoulli(torch.sigmoid(visible + h @ self.weights.T))

        def free_energy(v):
            field = torch.nn.functional.softplus(hidden + v @ self.weights)
            return -(v * visible).sum(dim=1) - field.sum(dim=1)

        return (free_energy(v) - free_energy(x)).mean()


def train_torch(pieces, n_epochs, on_epoch):
    """Train the torch model; return it."""
    import torch

    model = TorchModel(pieces)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    tensors = [torch.tensor(piece).float() for piece in pieces]
    for _ in range(n_epochs):
        for chosen in torch.randperm(len(tensors)).split(BATCH_SIZE):
            batch = [tensors[number] for number in chosen]
            frames = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
            lengths = torch.tensor([len(piece) for piece in batch])
            mask = torch.arange(frames.shape[1]) < lengths[:, None]
            optimizer.zero_grad()
            model.loss(frames, mask).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        on_epoch()
    return model
