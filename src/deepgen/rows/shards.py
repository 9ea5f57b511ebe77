"""Rows in many files, of which each process opens its own: arrays, packed bits, Parquet."""

import os
import zipfile
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from scipy import sparse

from deepgen.checks import RefusedValue, as_list, as_path, check_integer, real_array, shown
from deepgen.rows.batch import Batch
from deepgen.rows.packed_bits import PackedBits
from deepgen.rows.sources import BLOCK, CHECK_ROWS, join
from deepgen.rows.states import as_states, checked_csr
from deepgen.runtime.collective import ALONE, SHARDS, Alone, bounds, on_all
from deepgen.runtime.stream import SHUFFLE

# Runs of row numbers that every batch takes rows from, so that each process has its share of it.
# Processes are served alike where their number divides this; a virtual shard is five of them.
STRIPES = 5 * SHARDS
KINDS = (".npy", ".npz", ".parquet")


class Shards:
    """Rows in several files, for the `fit` of machines: each process opens its own files alone.

    Row numbers run through the files in their order. Every process has a contiguous run of them,
    wherever files end, and reads its part of each batch from there; nothing is ever gathered. A
    batch takes rows from everywhere: the rows are 120 runs of the same length, each in a random
    order of its own, blocks of 65,536 within it, and a batch takes the next ones of all in turn. So
    an epoch needs no shuffle of the whole. The order depends on the seed, not on the number of
    processes: any number of them gives the same bits, one without a communicator too.

    Parameters
    ----------
    source : str, path-like or sequence of them
        A folder, whose files are taken in the order of their names; or files. ``.npy`` are mapped
        into memory. Of ``.npz`` (one array, or a sparse matrix of scipy's) and ``.parquet``
        (columns of numbers; needs pyarrow) those that hold rows of this process are read whole,
        and kept.
    packed_columns : int or None
        The files hold packed bits, as ``numpy.packbits(rows, axis=1)`` makes them, of so many
        columns.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no file of these kinds in the folder.
    ValueError
        If a name ends in something else.
    TypeError
        If `source` is neither a name nor a sequence of them.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, deepgen as dg
    >>> folder = tempfile.mkdtemp()
    >>> X = (np.random.default_rng(0).random((200, 16)) < 0.3).astype(np.uint8)
    >>> for number, rows in enumerate(np.split(X, [30, 120])):
    ...     np.save(os.path.join(folder, f"{number}.npy"), rows)
    >>> rbm = dg.RBM(8, n_epochs=2, random_state=0).fit(dg.distributed.Shards(folder))
    """

    def __init__(self, source, *, packed_columns=None):
        if packed_columns is not None:
            check_integer(packed_columns, "packed_columns")
        self.packed_columns = packed_columns
        if isinstance(source, str | os.PathLike):
            folder = Path(source)
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"source must be a folder or a list of files, got {shown(str(source))}, which "
                    "is no folder"
                )
            self.paths = sorted(path for path in folder.iterdir() if path.suffix in KINDS)
        else:
            paths = as_list(source, "source", "names of files, or the name of a folder")
            self.paths = [as_path(path, "source") for path in paths]
        if not self.paths:
            raise FileNotFoundError(
                f"source must have files of {', '.join(KINDS)}, got none in {shown(str(source))}"
            )
        for path in self.paths:
            if path.suffix not in KINDS:
                raise ValueError(f"source must have files of {', '.join(KINDS)}, got {path}")

    def __repr__(self):
        return f"Shards({len(self.paths)} files)"

    def rows(self, collective=ALONE):
        """Return them as rows that a run reads, a :class:`ShardRows`."""
        return ShardRows(self, collective)


@dataclass(frozen=True)
class _Header:
    """What the head of a file tells: its shape, and whether its values are bytes."""

    n_rows: int
    n_columns: int
    in_bytes: bool


class ShardRows:
    """The rows of :class:`Shards` that one process has; its batches are parts of those of all.

    Parameters
    ----------
    shards : Shards
    collective : Collective

    Attributes
    ----------
    n_rows, n_columns : int
        Of all files.
    first_row : int
        Number of the first row of this process.
    piece_counts : list of int
        How many of the pieces belong to each stripe of this process: what is measured of a stripe
        is added before anything else is (:func:`deepgen.rows.survey.survey`).
    """

    is_fixed = True

    def __init__(self, shards, collective):
        self.shards, self.collective = shards, collective
        headers = self._headers()
        widths = {header.n_columns for header in headers if header.n_rows}
        if len(widths) != 1:
            raise ValueError(
                "files must have rows, all of one number of columns, got "
                f"{sorted(widths) or 'no row'}"
            )
        (self.n_columns,) = widths
        self._in_bytes = all(header.in_bytes for header in headers if header.n_rows)
        self._starts = [0, *accumulate(header.n_rows for header in headers)]
        self.n_rows = self._starts[-1]
        if collective.size > STRIPES:
            raise ValueError(f"at most {STRIPES} processes can share files, got {collective.size}")
        self._stripes = bounds(self.n_rows, STRIPES)
        # whole virtual shards, where there are as many
        groups = SHARDS if collective.size <= SHARDS else STRIPES
        own = bounds(groups, collective.size)[collective.rank : collective.rank + 2]
        self._group = STRIPES // groups
        self._own = range(own[0] * self._group, own[1] * self._group)
        self.first_row, self._stop = self._stripes[self._own.start], self._stripes[self._own.stop]
        pieces = [self._pieces_of(stripe) for stripe in self._own]
        self.piece_counts = [len(each) for each in pieces]
        self._pieces = [piece for each in pieces for piece in each]
        self._open = {}

    def _headers(self):
        """Return the headers of all files, each read by one process."""
        paths, collective = self.shards.paths, self.collective
        cuts = bounds(len(paths), collective.size)[collective.rank : collective.rank + 2]
        read = on_all(
            collective,
            lambda: [_header(path, self.shards.packed_columns) for path in paths[slice(*cuts)]],
            "to read its files",
        )
        return [header for part in collective.gather(read) for header in part]

    def _pieces_of(self, stripe):
        start, stop = self._stripes[stripe : stripe + 2]
        cuts = [*range(start, stop, CHECK_ROWS), stop]
        return list(pairwise(cuts))

    # --- reading ------------------------------------------------------------------------------

    def _file(self, number):
        """Return the rows of a file, opened once."""
        if number not in self._open:
            path = self.shards.paths[number]
            rows = _opened(path, self.shards.packed_columns)
            if rows.shape != (self._starts[number + 1] - self._starts[number], self.n_columns):
                raise ValueError(f"{path} has changed since it was measured: it is {rows.shape}")
            self._open[number] = rows
        return self._open[number]

    def states(self, numbers):
        """Return rows of this process by their numbers, ascending, as states."""
        pieces, cuts = [], np.searchsorted(numbers, self._starts)
        for number, (start, stop) in enumerate(pairwise(cuts)):
            if start < stop:
                chosen = numbers[start:stop] - self._starts[number]
                rows = self._file(number)[chosen]
                pieces.append(rows if sparse.issparse(rows) else self._as_all(rows))
        if not pieces:
            pieces = [np.empty((0, self.n_columns), np.uint8 if self._in_bytes else np.float32)]
        return as_states(join(pieces))

    def _as_all(self, rows):
        """Return rows of the type that those of all files have."""
        return rows if self._in_bytes else np.asarray(rows, np.float32)

    def placed(self, error, row):
        """Return an error about a row of this process, which names its file and its place there."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        path, row = self.shards.paths[number], row - self._starts[number]
        return RefusedValue(
            f"X in {path}", error.expected, error.value, row, error.column, error.remedy
        )

    def pieces(self, stream=None):
        """Yield the rows of this process in order, as batches of at most 8,192 rows."""
        for start, stop in self._pieces:
            yield Batch((self.states(np.arange(start, stop)),))

    def first(self, n_rows):
        """Return the first rows of all, in every process, as batches of one."""
        stop = min(n_rows, self._stop)
        own = self.states(np.arange(self.first_row, max(stop, self.first_row)))
        own = own.to_dense() if not isinstance(own, np.ndarray) else own
        return Batch((np.concatenate(self.collective.gather(own)),))

    def in_order(self, size):
        """Yield the first `size` rows, in every process; there is no second batch."""
        yield self.first(size)

    # --- epochs -------------------------------------------------------------------------------

    def batches(self, batch_size, stream, *, skip=0):
        """Yield the parts of an epoch's batches; see :class:`Shards` for their order."""
        orders = [
            _StripeOrder(self._stripes[k], self._stripes[k + 1], stream.child(f"stripe {k}"))
            for k in self._own
        ]
        done = self._counts(skip * batch_size)
        for order, count in zip(orders, done[self._own.start : self._own.stop], strict=True):
            order.take(int(count))
        for start in range(skip * batch_size, self.n_rows, batch_size):
            stop = min(start + batch_size, self.n_rows)
            counts = self._counts(stop) - self._counts(start)
            own = counts[self._own.start : self._own.stop]
            numbers = [o.take(int(count)) for o, count in zip(orders, own, strict=True)]
            batch = Batch((self.states(np.concatenate([*numbers, np.empty(0, np.int64)])),))
            if not isinstance(self.collective, Alone):
                batch = replace(
                    batch, first_row=int(counts[: self._own.start].sum()), n_whole=stop - start,
                    shards=tuple(own.reshape(-1, self._group).sum(axis=1).tolist()),
                )  # fmt: skip
            yield batch

    def _counts(self, n_rows):
        """Return how many of the first rows of an epoch are of each stripe.

        Row p of an epoch is of stripe ``p mod 120`` as long as all have rows; those that are left
        are of the stripes that have one more.
        """
        sizes = np.diff(self._stripes)
        fewest = self.n_rows // STRIPES
        in_turn = min(n_rows, fewest * STRIPES)
        counts = (in_turn - np.arange(STRIPES) + STRIPES - 1) // STRIPES
        longer = np.flatnonzero(sizes > fewest)
        counts[longer[: n_rows - in_turn]] += 1
        return counts


class _StripeOrder:
    """The random order of a run of row numbers, a block at a time."""

    def __init__(self, start, stop, stream):
        self._start, self._size, self._stream = start, stop - start, stream
        n_blocks = -(-self._size // BLOCK)
        self._blocks = iter(stream.permutation(n_blocks, SHUFFLE)) if n_blocks else iter(())
        self._pending = np.empty(0, np.int64)

    def take(self, n_rows):
        """Return the next row numbers, ascending."""
        while len(self._pending) < n_rows:
            block = int(next(self._blocks))
            first = block * BLOCK
            order = self._stream.permutation(
                min(BLOCK, self._size - first), SHUFFLE, row=1 + block
            )
            self._pending = np.concatenate([self._pending, self._start + first + order])
        taken, self._pending = self._pending[:n_rows], self._pending[n_rows:]
        return np.sort(taken)


# --- files ------------------------------------------------------------------------------------


def _header(path, packed_columns):
    """Return the :class:`_Header` of a file; ValueError, which names it, where it is no such."""
    try:
        if path.suffix == ".npy":
            rows = _opened(path, packed_columns)
            return _Header(*rows.shape, rows.dtype in (np.uint8, np.bool_))
        if path.suffix == ".npz":
            return _header_of_archive(path, packed_columns)
        file = _parquet().ParquetFile(path)
        kinds = {str(field.type) for field in file.schema_arrow}
        in_bytes = kinds <= {"uint8", "bool"}
        return _Header(file.metadata.num_rows, file.metadata.num_columns, in_bytes)
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error


def _header_of_archive(path, packed_columns):
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if "shape.npy" in members:
            with archive.open("shape.npy") as member:
                return _Header(*map(int, np.lib.format.read_array(member)), False)
        if len(members) != 1:
            raise ValueError(f"it must hold one array, got {members}")
        with archive.open(members[0]) as member:
            version = np.lib.format.read_magic(member)
            read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
            shape, _, dtype = read[version[0]](member)
    if len(shape) != 2:
        raise ValueError(f"it must hold rows and columns, got shape {shape}")
    if packed_columns is not None:
        return _Header(shape[0], packed_columns, True)
    return _Header(*shape, dtype in (np.uint8, np.bool_))


def _opened(path, packed_columns):
    """Return the rows of a file: a memory map, an array, packed bits or a CSR matrix."""
    if path.suffix == ".npy":
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            if "shape" in archive.files:
                return checked_csr(sparse.load_npz(path).tocsr())
            rows = archive[archive.files[0]]
    else:
        table = _parquet().read_table(path)
        columns = [real_array(column.to_numpy(), f"{path}") for column in table.columns]
        rows = np.column_stack(columns) if columns else np.empty((table.num_rows, 0))
    if rows.ndim != 2:
        raise ValueError(f"{path} must hold rows and columns, got shape {rows.shape}")
    return rows if packed_columns is None else PackedBits(rows, packed_columns)


def _parquet():
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ImportError(
            "Parquet files need pyarrow: pip install pyarrow, or write the rows with numpy.save"
        ) from error
    return parquet
