"""Processes of one run, as threads: for what several of them must agree on."""

import threading

import numpy as np

import deepgen as dg
from deepgen.learning.machines import Trainer
from deepgen.runtime.collective import Alone


class Together:
    """What threads exchange: each call of :class:`Member` waits for that of all others."""

    def __init__(self, size):
        self.size, self.barrier = size, threading.Barrier(size, timeout=60)
        self.values = [None] * size

    def of(self, rank):
        """The collective of one of them."""
        return Member(self, rank)


class Member:
    """The collective of one thread."""

    def __init__(self, together, rank):
        self.together, self.rank, self.size = together, rank, together.size

    def gather(self, value):
        self.together.values[self.rank] = value
        self.together.barrier.wait()
        values = list(self.together.values)
        self.together.barrier.wait()
        return values

    def sum(self, array, most=np.inf):
        arrays = self.gather(array.copy())
        # in another order in each process: whole numbers do not care
        order = np.roll(np.arange(self.size), self.rank)
        array[...] = sum(arrays[rank] for rank in order)
        # what a communicator may send in fewer bits
        assert np.abs(array).max(initial=0.0) <= most or np.isnan(array).any()
        assert most == np.inf or (array == np.rint(array)).all()

    def broadcast(self, value):
        return self.gather(value)[0]

    def abort(self, error):
        self.together.barrier.abort()


def on_threads(size, compute):
    """What a function of a collective returns in each of some processes, a list by rank.

    The first error that any of them raises is raised here, none of those who then wait in vain.
    """
    together, results, errors = Together(size), [None] * size, []

    def work(rank):
        try:
            results[rank] = compute(together.of(rank))
        except BaseException as error:
            # the cause comes before the others notice
            errors.append(error)
            together.barrier.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise min(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError))
    return results


def trained(rule, optimizer, model, rows, size, n_epochs=4):
    """Runs of `size` processes, 0 for one that is alone."""

    def run_of(collective):
        run = Trainer(model, rule, optimizer, dg.Constant(0.1), stream=dg.Stream(3),
                      batch_size=32, n_threads=1)  # fmt: skip
        run.collective = collective
        run.fit(rows, n_epochs)
        return run

    return on_threads(size, run_of) if size else [run_of(Alone())]
