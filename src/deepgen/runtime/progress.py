"""The progress bar of a run."""

import time

# Names that every line of a history has; other names are numbers that callbacks added.
STANDARD_NAMES = ("epoch", "n_updates", "learning_rate", "seconds", "n_rows", "weight_max")


class ProgressBar:
    """Updates done and left, rows a second, and the newest numbers of callbacks.

    Parameters
    ----------
    total, done : int
        Updates of the run, and those of an earlier part of it.
    shown : bool
        False: every method does nothing, and tqdm is not imported; it brings asyncio, locks and
        threads with it.
    unit : str, default "update"
    """

    def __init__(self, total, done, shown, unit="update"):
        self._bar = None
        if shown:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, initial=done, unit=unit)
        self._began, self._rows, self._numbers = time.perf_counter(), 0, ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._bar is not None:
            self._bar.close()

    def update(self, n_rows):
        """Count one update, of a batch of `n_rows` rows."""
        if self._bar is None:
            return
        self._rows += n_rows
        speed = self._rows / max(time.perf_counter() - self._began, 1e-9)
        self._bar.set_postfix_str(f"{speed:,.0f} rows/s{self._numbers}", refresh=False)
        self._bar.update()

    def report(self, entry):
        """Show beside the bar what callbacks measured: an epoch's `entry` of the history."""
        if self._bar is None:
            return
        numbers = (
            f", {name}={value:.5g}"
            for name, value in entry.items()
            if name not in STANDARD_NAMES and isinstance(value, int | float)
        )
        self._numbers = "".join(numbers)
