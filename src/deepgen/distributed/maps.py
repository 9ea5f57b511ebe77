"""Answers of a fitted model for rows in partitions, through Dask: lazy, each with its own draws."""

import copy
import functools
import os
from pathlib import Path

import numpy as np

from deepgen.checks import check_instance, check_integer, is_integer, shown
from deepgen.estimators.common.base import ModelEstimator
from deepgen.estimators.loading import load

# What can be asked row by row; and of these, what draws: pieces with the right `first_row` are the
# whole then.
METHODS = (
    "transform", "score_samples", "free_energy", "predict", "predict_proba", "impute", "sample"
)  # fmt: skip
DRAWN = ("impute", "sample")
# One float64 number for each row, whatever the row.
NUMBERS = ("score_samples", "free_energy")


def map_rows(model, method, rows, *, options=None, chunk_rows=65_536, n_threads=1):
    """Call a method of a fitted model for the rows of a Dask array or of Parquet files.

    Nothing is computed until the result is: ``map_rows(...).compute()``, or ``to_zarr`` and the
    like. Each worker process reads the model file once. The pieces equal one call with all rows, to
    the bit: also draws, which are named by the row's number in the whole.

    Parameters
    ----------
    model : str, path-like or estimator
        A file of `save` that all workers can read. A fitted estimator travels with the graph, as
        a copy, without its communicator.
    method : str
        "transform", "score_samples", "free_energy", "predict", "predict_proba", "impute" or
        "sample".
    rows : dask array of shape (n_rows, n_features), str, path-like or int
        A Dask array whose chunks hold whole rows and know their lengths. A Parquet file, or a
        folder of them, of columns of numbers: a partition for each row group. Of "sample", the
        number of samples.
    options : dict or None
        Further arguments of the method, by name. "impute" and "sample" need ``"random_state"``, an
        integer, and name rows themselves: there is no ``"first_row"``.
    chunk_rows : int, default 65,536
        Samples of a partition.
    n_threads : int, default 1
        Of each call. Dask has a worker for each core.

    Returns
    -------
    dask array of shape (n_rows, ...)

    Raises
    ------
    ImportError
        Without Dask: ``pip install 'deepgen[dask]'``.
    ValueError, TypeError
        If an argument is none of these.

    Notes
    -----
    Likelihoods need log Z, which each worker brackets once, with the same seed and bits. Call
    ``log_partition`` and pass the estimator, where that takes long: it keeps the bracket.

    Examples
    --------
    With Dask and a model file::

        rows = dask.array.from_zarr("rows.zarr")
        features = dg.distributed.map_rows("rbm.safetensors", "transform", rows)
        features.to_zarr("features.zarr")
    """
    array = _dask_array()
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {shown(method)}")
    check_integer(chunk_rows, "chunk_rows")
    check_integer(n_threads, "n_threads")
    options = {} if options is None else options
    check_instance(options, "options", dict, "None or a dict of arguments by name")
    if "first_row" in options:
        raise ValueError(
            "options must not hold 'first_row', which is the number of each piece's first row in "
            f"the whole, got {shown(options['first_row'])}; leave it out"
        )
    if method in DRAWN and not is_integer(options.get("random_state")):
        raise ValueError(
            f"options must have an integer 'random_state' for {method}, so that all pieces draw "
            f"from one stream, got {shown(options.get('random_state'))}"
        )
    model = str(model) if isinstance(model, str | os.PathLike) else _own(model, n_threads)
    call = functools.partial(_answer, model, method, options, n_threads)
    _require_method(_estimator_of(model, n_threads), method)
    if method == "sample":
        check_integer(rows, "rows")
        starts = range(0, rows, chunk_rows)
        pieces = [(start, min(chunk_rows, rows - start)) for start in starts]
        return _joined(array, [(_later(call, n, first), n) for first, n in pieces], call(1, 0))
    if isinstance(rows, str | os.PathLike):
        parts = _row_groups(Path(rows))
        first, pieces = 0, []
        for path, group, n_rows in parts:
            pieces.append((_later(_answer_file, call, path, group, first), n_rows))
            first += n_rows
        return _joined(array, pieces, call(_read_group(*parts[0][:2])[:1], 0))
    if not isinstance(rows, array.Array) or rows.ndim != 2:
        raise TypeError(
            "rows must be a dask array of two dimensions, the name of a Parquet file or folder, or "
            f"of 'sample' a number, got {shown(type(rows).__name__)}; dask.array.from_array(X, "
            "chunks=(65_536, X.shape[1])) makes one of an array"
        )
    if len(rows.chunks[1]) != 1:
        rows = rows.rechunk({1: -1})
    if any(np.isnan(size) for size in rows.chunks[0]):
        raise ValueError(
            "rows must know how many rows its chunks have, so that draws are named by row; call "
            "rows.compute_chunk_sizes() first"
        )
    meta = _of_nothing(call, rows)
    return array.map_blocks(
        _answer_block, rows, call=call, dtype=meta.dtype,
        chunks=(rows.chunks[0], *((size,) for size in meta.shape[1:])),
        drop_axis=[] if meta.ndim == 2 else [1], meta=meta,
    )  # fmt: skip


def _dask_array():
    try:
        import dask.array as array
    except ImportError as error:
        raise ImportError(
            "dg.distributed.map_rows needs Dask: pip install 'deepgen[dask]'"
        ) from error
    return array


def _later(function, *arguments):
    import dask

    return dask.delayed(function, pure=True)(*arguments)


def _joined(array, pieces, meta):
    """Return delayed pieces of so many rows as one Dask array, of the type of `meta`."""
    return array.concatenate([
        array.from_delayed(piece, (n_rows, *meta.shape[1:]), meta.dtype) for piece, n_rows in pieces
    ])  # fmt: skip


@functools.lru_cache(maxsize=4)
def _loaded(path, changed, n_threads):
    """Return the estimator of a file, read once a process for each of its versions."""
    return load(path).set_params(n_threads=n_threads)


def _own(model, n_threads):
    """Return a copy of a user's estimator that answers in one process, on so many threads."""
    check_instance(
        model, "model", ModelEstimator, "the name of a file of `save`, or a fitted estimator"
    )
    own = copy.copy(model).set_params(n_threads=n_threads)
    return own if own.communicator is None else own.set_params(communicator=None)


def _estimator_of(model, n_threads):
    """Return the estimator that a model of :func:`map_rows` is, or that its file holds."""
    if isinstance(model, str):
        return _loaded(model, os.stat(model).st_mtime_ns, n_threads)
    return model


def _require_method(estimator, method):
    """Raise ValueError where an estimator has no such method."""
    known = [name for name in METHODS if name in dir(estimator)]
    if method not in known:
        raise ValueError(
            f"method must be one that {type(estimator).__name__} has, {', '.join(known)}, got "
            f"{method!r}"
        )


def _answer(model, method, options, n_threads, rows, first_row):
    """Return the answer of a method, such as ``transform``, for one piece of a larger array.

    `first_row` is the number of the piece's first row in the whole array.
    """
    options = {**options, "first_row": first_row} if method in DRAWN else options
    return np.asarray(getattr(_estimator_of(model, n_threads), method)(rows, **options))


def _of_nothing(call, rows):
    """Return the answer for an array without rows: Dask reads type and width of answers from it.

    Refuses rows of another number of columns than the estimator has.
    """
    zeros = np.zeros((1, rows.shape[1]), rows.dtype)
    model, method, _, n_threads = call.args
    if method in NUMBERS:  # a row of zeros is no state of softmax units, and log Z takes long
        _estimator_of(model, n_threads).transform(zeros)
        return np.zeros(0)
    return call(zeros, 0)[:0]


def _answer_block(block, call, block_info=None):
    if not len(block):  # Dask asks what comes out of nothing
        return _of_nothing(call, block)
    return call(block, int(block_info[0]["array-location"][0][0]))


def _answer_file(call, path, group, first_row):
    return call(_read_group(path, group), first_row)


def _parquet():
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install pyarrow") from error
    return parquet


def _row_groups(source):
    """Return (path, number, rows) of all row groups that have rows, in order."""
    paths = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    groups = []
    for path in paths:
        metadata = _parquet().ParquetFile(path).metadata
        for number in range(metadata.num_row_groups):
            groups.append((path, number, metadata.row_group(number).num_rows))
    groups = [group for group in groups if group[2]]
    if not groups:
        raise FileNotFoundError(f"rows must name Parquet files with rows, got none in {source}")
    return groups


def _read_group(path, number):
    table = _parquet().ParquetFile(path).read_row_group(number)
    return np.column_stack([column.to_numpy() for column in table.columns])
