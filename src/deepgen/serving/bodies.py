"""Bytes of requests to rows and options, and answers to bytes: JSON, and NumPy's own format.

Nothing in a request runs code, names a file, or makes the reader take memory that the bytes which
came do not justify.
"""

import difflib
import io
import json
import math
import tokenize

import numpy as np

from deepgen.checks import first_place, shown
from deepgen.serving.refusals import Refusal, wrong

JSON, NPY = "application/json", "application/x-npy"
_LONGEST_HEADER = 4_096  # bytes, of an .npy file; that of a plain array has 118
# What NumPy raises where it cannot read a header, which it takes for a literal of Python's.
_NO_HEADER = (
    ValueError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError
)  # fmt: skip


def read_json(body):
    """Return the object that a body holds.

    Raises
    ------
    Refusal
        400 where it is no JSON object.
    """
    if not body:
        return {}
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise _no_json("brackets inside each other without an end") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise _no_json(str(error)) from None
    if not isinstance(found, dict):
        raise _no_json(f"{shown(found)}, which is no object")
    return found


def _refuse_constant(name):
    raise ValueError(f"{name}, which JSON does not have; a missing value is null")


def _no_json(got):
    return Refusal(400, f"body must be a JSON object, got {got}", "body", "be a JSON object", got)


def options_of(given, fields):
    """Check the options of a request.

    Parameters
    ----------
    given : dict
        By name; its ``rows`` are left alone.
    fields : dict of str to Field

    Returns
    -------
    dict
        By parameter of the estimator's method; defaults stand for what is not given.
    """
    options = {}
    for name, value in given.items():
        if name == "rows":
            continue
        if name not in fields:
            near = difflib.get_close_matches(name, ["rows", *fields], 1)
            hint = f"did you mean {near[0]}? " if near else ""
            known = ", ".join(["rows", *fields])
            raise Refusal(
                422, f"{name[:80]} is no field here; {hint}this model has {known}", name[:80],
                f"be one of {known}", name[:80],
            )  # fmt: skip
        options[fields[name].parameter] = fields[name].checked(value)
    for field in fields.values():
        if field.parameter not in options:
            if field.required:
                raise wrong(field.name, "be given", "none", field.about)
            if field.default is not None:
                options[field.parameter] = field.default
    labels = options.get("y")
    if isinstance(labels, list) and "n" not in given:
        options["n_samples"] = len(labels)
    return options


def given_in_query(query, fields):
    """Return the options in an address, checked, as a body would have them.

    Parameters
    ----------
    query : list of tuple of (str, str)
    fields : dict of str to Field
    """
    given = {}
    for name, text in query:
        if name in given:
            raise wrong(name[:80], "be given once", "twice")
        if name in fields and fields[name].holds == "label":
            raise wrong(name, "be in a JSON body", "it in the address")
        given[name] = text
        if name in fields:
            given[name] = fields[name].checked(fields[name].parsed(text))
    if "rows" in given:
        raise wrong("rows", "be in the body", "them in the address")
    return given


def rows_of_json(value, n_columns, most_rows, *, texts=False):
    """Return rows as an array: uint8 where all are whole numbers up to 255, else float64.

    Parameters
    ----------
    value : object
        A list of lists of numbers; null is a missing value.
    n_columns, most_rows : int
    texts : bool
        Whether texts and truth values are values too; the rows are an array of objects then.
    """
    expected = f"be a list of rows, each a list of {n_columns:,} numbers"
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise wrong("rows", expected, "none" if value is None else value)
    _check_size(len(value), most_rows)
    for number, row in enumerate(value):
        if len(row) != n_columns:
            raise Refusal(
                422, f"rows must {expected}, got {len(row):,} values in "
                f"row {number}", "rows", expected, f"{len(row):,} values", place={"row": number},
            )  # fmt: skip
    if texts:
        for number, row in enumerate(value):
            for column, cell in enumerate(row):
                if not isinstance(cell, str | int | float | None):
                    raise _no_number(cell, number, column, "hold numbers, texts or null")
        array = np.empty((len(value), n_columns), dtype=object)
        array[:] = value
        return array
    for number, row in enumerate(value):
        kinds = set(map(type, row))
        if not kinds <= {int, float, type(None)}:
            column = next(c for c, x in enumerate(row) if type(x) not in (int, float, type(None)))
            raise _no_number(row[column], number, column, "hold numbers or null")
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        array = np.array(value, dtype=object)
    if array.dtype == object:
        array = _with_gaps(value, n_columns)
    if array.dtype.kind == "i" and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    return array.astype(np.float64)


def check_range(rows, low, high):
    """Raise a refusal where a number lies beyond what any model takes.

    An estimator, which works in float32, takes some numbers beyond for the limit itself.
    """
    if rows.dtype.kind == "f" and rows.size:
        beyond = (rows < low) | (rows > high)
        if beyond.any():
            row, column = first_place(beyond)
            raise _no_number(rows[row, column].item(), row, column, f"lie within +-{high:g}")


def _with_gaps(value, n_columns):
    """Return rows with null, or integers of any size, as float64."""
    array = np.empty((len(value), n_columns))
    for number, row in enumerate(value):
        for column, cell in enumerate(row):
            try:
                array[number, column] = math.nan if cell is None else cell
            except OverflowError:
                raise _no_number(cell, number, column, "hold numbers within +-1e308") from None
    return array


def _no_number(cell, row, column, expected):
    got = shown(cell)
    message = f"rows must {expected}, got {got} in row {row}, column {column}"
    return Refusal(422, message, "rows", expected, got, place={"row": row, "column": column})


def _check_size(n_rows, most_rows):
    if not 1 <= n_rows <= most_rows:
        raise wrong(
            "rows", f"be 1 to {most_rows:,} in a request", f"{n_rows:,}",
            "cut them into several requests: each row's answer is the same" if n_rows else "",
        )  # fmt: skip


def rows_of_npy(body, n_columns, most_rows):
    """Return rows of the bytes of an .npy file; its header must agree with how many came.

    Parameters
    ----------
    body : bytes
    n_columns, most_rows : int

    Raises
    ------
    Refusal
        400 where it is no such file, 422 where it is one of other rows.
    """
    file = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise _no_npy(f"version {version[0]}.{version[1]}")
        shape, by_columns, dtype = readers[version](file, max_header_size=_LONGEST_HEADER)
    except _NO_HEADER as error:
        raise _no_npy(" ".join(str(error).split())[:120] or type(error).__name__) from None
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise wrong("rows", "be an array of numbers of at most 64 bits", f"dtype {str(dtype)[:40]}")
    if len(shape) != 2 or shape[1] != n_columns:
        raise wrong("rows", f"have shape (n_rows, {n_columns:,})", str(shape)[:80])
    _check_size(shape[0], most_rows)
    place = file.tell()
    n_bytes, came = shape[0] * shape[1] * dtype.itemsize, len(body) - place
    if n_bytes != came:
        raise _no_npy(f"{came:,} bytes of values where the header says {n_bytes:,}")
    values = np.frombuffer(body, dtype, shape[0] * shape[1], place)
    values = values.reshape(shape, order="F" if by_columns else "C")
    return np.ascontiguousarray(values, dtype.newbyteorder("="))


def _no_npy(got):
    return Refusal(400, f"body must be an .npy file, got {got}", "body", "be an .npy file", got)


def json_bytes(value):
    """Return plain data as JSON."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def json_of_arrays(arrays):
    """Return a JSON object of arrays, by name.

    float32 has nine digits, which tell every such number from all others; half as many bytes as
    the digits of a float64, and half the time. All else is written so that nothing is lost too.
    """
    parts = [f'"{name}":{_text_of(array)}' for name, array in arrays.items()]
    return f"{{{','.join(parts)}}}".encode()


def _text_of(array):
    if array.dtype == np.float32 and array.ndim == 2 and np.isfinite(array).all():
        row = f"[{','.join(['%.9g'] * array.shape[1])}]"
        return f"[{','.join([row % tuple(values) for values in array.tolist()])}]"
    return json.dumps(plain_array(array), allow_nan=False, separators=(",", ":"))


def plain_array(array):
    """Return an array as lists: dates and bytes as texts, NaN and pandas' NA as None."""
    if array.dtype.kind in "mMS":
        return array.astype(str).tolist()
    if array.dtype.kind == "f":
        if np.isfinite(array).all():
            return array.tolist()
        array = array.astype(object)
    if array.dtype == object:
        return [_plain_cells(row) for row in array.tolist()]
    return array.tolist()


def _plain_cells(cell):
    if isinstance(cell, list):
        return [_plain_cells(inner) for inner in cell]
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell if isinstance(cell, str | int | float | bool | None) else str(cell)


def npy_bytes(array):
    """Return an array as an .npy file.

    Raises
    ------
    Refusal
        406 where it holds texts and numbers side by side.
    """
    if array.dtype == object:
        names = np.array(array.tolist())
        if names.dtype == object or array.ndim > 1:
            raise Refusal(
                406, f"Accept must be {JSON} where an answer holds texts and numbers, got {NPY}",
                "Accept", f"be {JSON}", NPY,
            )  # fmt: skip
        array = names
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def wanted_type(accept):
    """Return the type that an ``Accept`` header asks for: JSON, unless the other is preferred.

    Parameters
    ----------
    accept : str or None
    """
    if not accept:
        return JSON
    weights = {}
    for part in accept.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, text = parameter.partition("=")
            if key.strip() == "q":
                try:
                    weight = float(text)
                except ValueError:
                    weight = 0.0
        weights[name] = weight
    any_type = max(weights.get("*/*", 0.0), weights.get("application/*", 0.0))
    as_json, as_npy = weights.get(JSON, any_type), weights.get(NPY, any_type)
    if not max(as_json, as_npy) > 0.0:
        expected = f"be {JSON} or {NPY}"
        raise wrong("Accept", expected, accept[:80], status=406)
    return NPY if as_npy > as_json else JSON
