"""Signals in a run: Ctrl-C, SIGTERM and what schedulers send take effect between two updates."""

import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from conftest import with_slow
from stopped_runs import bits, rbm_for, rows_for, run_python
from stops import At

import deepgen as dg
from deepgen.io import trees
from deepgen.learning.whole_updates import WholeUpdates
from deepgen.runtime import interrupts

pytestmark = pytest.mark.usefixtures("serial")


class Told(Exception):
    """What a handler of the tests raises."""


@pytest.fixture
def handled(request):
    """Set a handler for a signal while a test runs."""
    before = {}

    def handle(number, handler):
        before.setdefault(number, signal.getsignal(number))
        signal.signal(number, handler)

    yield handle
    for number, handler in before.items():
        signal.signal(number, handler)


def tell(number, frame):
    raise Told


class InTheMiddle:
    """Send a signal in the middle of an update, or of the call that makes it among others."""

    def __init__(self, patch, number, update):
        make = WholeUpdates.make

        def sending(whole, updates, *others):
            if self.n < update <= self.n + len(updates):
                signal.raise_signal(number)
            self.n += len(updates)
            return make(whole, updates, *others)

        self.n = 0
        patch.setattr(WholeUpdates, "make", sending)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP])
def test_a_handler_that_raises_leaves_a_checkpoint_of_whole_updates(
    number, tmp_path, monkeypatch, handled
):
    """Catches a job that is told to end in the middle of an update, and loses its work."""
    whole, path = rbm_for({}).fit(rows_for({})), tmp_path / "run"
    handled(number, tell)
    with monkeypatch.context() as patch:
        InTheMiddle(patch, number, 9)
        with pytest.raises(Told):
            rbm_for({}, [dg.Checkpoint(path)]).fit(rows_for({}))
    assert signal.getsignal(number) is tell
    assert trees.load(path)["trainer"]["place"]["n_updates"] == 9
    assert bits(rbm_for({}).fit(rows_for({}), resume=path)) == bits(whole)


def test_a_handler_that_raises_nothing_is_called_and_the_run_goes_on(monkeypatch, handled):
    """Catches a note of a scheduler that is lost, or ends a run that should go on."""
    whole, told = rbm_for({}).fit(rows_for({})), []
    handled(signal.SIGTERM, lambda number, frame: told.append((number, frame is None)))
    with monkeypatch.context() as patch:
        InTheMiddle(patch, signal.SIGTERM, 9)
        assert bits(rbm_for({}).fit(rows_for({}))) == bits(whole)
    assert told == [(signal.SIGTERM, False)]


def test_what_was_ignored_stays_ignored(monkeypatch, handled):
    """Catches a job under `nohup` that ends with its terminal after all."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        handled(number, signal.SIG_IGN)
        with monkeypatch.context() as patch:
            InTheMiddle(patch, number, 3)
            rbm_for({}).fit(rows_for({}))
        assert signal.getsignal(number) is signal.SIG_IGN


DEFAULT = """
    import signal, sys
    import deepgen as dg
    from stopped_runs import rbm_for, rows_for
    from stops import At
    kind, path = sys.argv[1:]
    send = lambda: signal.raise_signal(signal.SIGTERM)
    callbacks = [dg.Checkpoint(path)] + [At(send, update=n) for n in range(8, 10)]
    if kind == "fit":
        rbm_for({}, callbacks).fit(rows_for({}))
    elif kind == "stack":
        stack = dg.DBN((6, 5), n_epochs=3, batch_size=20, random_state=0, callbacks=callbacks)
        stack.fit(rows_for({}))
    elif kind == "network":
        callbacks = [dg.Checkpoint(path), At(send, update=2)]
        dg.Autoencoder(5, n_epochs=3, random_state=0, callbacks=callbacks).fit(rows_for({}))
    print("went on")
"""


@pytest.mark.parametrize("kind", with_slow(["fit", "stack", "network"], ["stack", "network"]))
def test_the_default_action_comes_after_the_checkpoint(kind, tmp_path):
    """Catches a pre-empted job that ends without a file, with another exit code, or goes on; and
    one that ends while it writes, because `timeout` sends its signal twice."""
    run = run_python(DEFAULT, kind, tmp_path / "run")
    assert run.returncode == -signal.SIGTERM, run.stderr
    assert "went on" not in run.stdout
    place = trees.load(tmp_path / "run")["trainer"]["place"]
    assert not place["finished"]
    assert place["n_updates"] > 0


def test_a_signal_after_the_last_update_takes_its_effect(handled):
    """Catches a signal that comes when no check is left, and is forgotten."""
    handled(signal.SIGTERM, tell)
    with pytest.raises(Told), interrupts.interrupt_between_steps():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is tell


def test_a_second_signal_does_not_wait_for_an_iterable_that_hangs(handled, monkeypatch):
    """Catches a process that only SIGKILL ends."""
    handled(signal.SIGTERM, tell)
    with interrupts.interrupt_between_steps() as held:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # at once: `timeout` means one by two
        monkeypatch.setattr(interrupts, "ONE_SIGNAL", 0.0)
        with pytest.raises(Told):
            signal.raise_signal(signal.SIGTERM)
        held.waiting.clear()


def test_runs_within_a_run_and_in_other_threads_leave_signals_alone(handled):
    """Catches a callback that fits another model and hands back the wrong handlers, and
    `signal.signal` in a thread, which is an error."""
    handled(signal.SIGTERM, tell)
    X = rows_for({})
    inner = At(lambda: dg.RBM(3, n_epochs=1).fit(X), update=2)
    rbm_for({}, [inner]).fit(X)
    assert signal.getsignal(signal.SIGTERM) is tell
    found = []

    def other_thread():
        dg.RBM(3, n_epochs=1).fit(X)
        found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert found == [tell]


def run_told_to_end(folder, arguments):
    """The ended process of a command, to which SIGTERM comes half a second after learning began.

    A process that is sent one on its way there, on a busy machine, ends as any other does.
    """
    X = np.random.default_rng(0).integers(0, 2, (2_000, 30), np.uint8)
    np.save(folder / "X.npy", X)
    script = f"""if True:
        import os, signal, sys, threading, time
        from deepgen.cli import main

        def end():
            while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                time.sleep(0.01)
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=end, daemon=True).start()
        sys.exit(main({arguments!r}))
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=folder, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip


TRAIN = ["train", "--data", "X.npy", "--out", "m", "--n-epochs", "1000000", "--n-hidden", "4"]


@pytest.mark.slow
def test_the_command_line_writes_its_model_when_it_is_told_to_end(tmp_path):
    """Catches `deepgen train` without a checkpoint that loses all it has learned on SIGTERM."""
    run = run_told_to_end(tmp_path, TRAIN)
    assert run.returncode == 128 + signal.SIGTERM, run.stderr
    assert "terminated; the model of" in run.stderr
    assert dg.load(tmp_path / "m").model_.layers[1].size == 4


@pytest.mark.slow
def test_the_command_line_keeps_a_checkpoint_when_it_is_told_to_end(tmp_path):
    """Catches `deepgen train --checkpoint` that loses the run of a job that is pre-empted."""
    run = run_told_to_end(tmp_path, [*TRAIN, "--checkpoint", "c"])
    assert run.returncode == -signal.SIGTERM, run.stderr
    assert not trees.load(tmp_path / "c")["trainer"]["place"]["finished"]
