"""What commands print: JSON that every reader can read, and lines of label and value."""

import json
import math


def finite(value):
    """Replace numbers that JSON does not have by None, in dictionaries and lists too."""
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(value):
    """Return plain data as JSON text."""
    return json.dumps(finite(value), indent=2, allow_nan=False)


def print_json(value):
    """Print plain data as one JSON object."""
    print(as_json(value))


def print_fields(title, fields):
    """Print a title, and under it a line for each pair of label and value."""
    print(title)
    for label, value in fields:
        print(f"  {label:<16}  {value}")


def about_array(path, array):
    """Describe what a command has written, an array or a data frame: file, shape, type."""
    dtype = str(getattr(array, "dtype", "table"))
    return {"file": path, "shape": list(array.shape), "dtype": dtype}


def tell_array(result):
    """Print where an array is and what it is, unless it was printed itself."""
    if result["file"] != "-":
        shape = " x ".join(f"{n:,}" for n in result["shape"])
        print(f"{result['file']}: {shape}, {result['dtype']}")
