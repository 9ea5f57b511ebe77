"""The progress bar of a run."""

import time


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

    def update(self, n_rows, n_updates=1):
        """Count updates, of `n_rows` rows together."""
        if self._bar is None:
            return
        self._rows += n_rows
        speed = self._rows / max(time.perf_counter() - self._began, 1e-9)
        self._bar.set_postfix_str(f"{speed:,.0f} rows/s{self._numbers}", refresh=False)
        self._bar.update(n_updates)

    def report(self, numbers):
        """Show numbers by name, those of an epoch's callbacks say, from now on."""
        if self._bar is None:
            return
        shown = (
            f", {name}={value:.5g}"
            for name, value in numbers.items()
            if isinstance(value, int | float)
        )
        self._numbers = "".join(shown)
