"""Published tables reproduced: `python -m bench.results NAME [--quick]`.

Each table is one module with a function `rows(store, quick)`, which yields rows as they are
done. Finished pieces and checkpoints stand in `$DEEPGEN_RUNS`, so that a run that was stopped
goes on where it was; nothing below that folder is ever committed.
"""
