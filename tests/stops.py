"""Ways to stop a run in the tests: an error, Ctrl-C, and a callback that does it at a place."""

import signal

ANY = object()


class Stop(Exception):
    """What a test breaks a run off with."""


def fail():
    """Stop a run by an error."""
    raise Stop


def press_ctrl_c():
    """Stop a run as a user does."""
    signal.raise_signal(signal.SIGINT)


class At:
    """Callback that does something, once, after an update or in the report of an epoch.

    Parameters
    ----------
    act : callable
        What it does, such as `fail`.
    update, epoch : int, optional
    layer : int or None, optional
        Of a stack: in the run of this layer; None is what comes after the layers.
    """

    def __init__(self, act, *, update=None, epoch=None, layer=ANY):
        self.act, self.update, self.epoch, self.layer = act, update, epoch, layer

    def __call__(self, report):
        if report.epoch == self.epoch:
            self.act()

    def between_updates(self, trainer):
        is_here = self.layer is ANY or trainer.labels.get("layer") == self.layer
        if is_here and trainer.n_updates == self.update:
            self.update = None
            self.act()
