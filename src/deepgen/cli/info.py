"""``deepgen info``."""

import json

import numpy as np

from deepgen.cli.common.names import file_name
from deepgen.io import model_files
from deepgen.io.classes import classes_of_plain, json_classes

# Entries beside layers that models other than Boltzmann machines have.
SIZES = ("n_features", "n_components", "n_inputs", "n_columns", "n_hidden", "n_known")
# Tensors of several axes that are no weights.
NO_WEIGHTS = ("bias", "known_means")


def add_to(commands, about):
    """Add the command's parser, which the list of commands says this about; return it."""
    parser = commands.add_parser(
        "info", help=about, description="Say what a model file holds."
    )
    parser.add_argument("file", type=file_name, metavar="FILE")
    return parser


def run(arguments):
    """Describe the file."""
    return describe_file(arguments.file)


def tell(about):
    """Print the description."""
    saved_by = f", saved by {json.dumps(about['estimator'])}" if about["estimator"] else ""
    print(about["file"])
    print(f"  format version    {about['format_version']}")
    print(f"  model             {about['model']}{saved_by}")
    for name in SIZES:
        if name in about:
            print(f"  {name.removeprefix('n_'):<18}{about[name]:,}")
    if "scale" in about:
        print(f"  {'rows are':<18}{json.dumps(about['rows'])}")
        print(f"  {'scale':<18}{', '.join(f'{value:g}' for value in about['scale'])}")
    if "machine" in about:
        print(f"  {'machine':<18}{' - '.join(_in_words(u) for u in about['machine']['layers'])}")
    for number, layer in enumerate(about["layers"]):
        sides = [layer["lower"], layer["upper"]] if "lower" in layer else [layer]
        label = f"layer {number}"
        print(f"  {label:<18}{' -> '.join(_in_words(units) for units in sides)}")
    if about["classes"] is not None:
        print(f"  {'classes':<18}{_some(about['classes'])}")
    if about["feature_names"] is not None:
        print(f"  {'columns':<18}{_some(about['feature_names'])}")
    if "top" in about:
        print(f"  {'top':<18}{' - '.join(_in_words(units) for units in about['top']['layers'])}")
    print(f"  parameters        {about['n_parameters']:,}")
    width = max(22, *(len(name) + 2 for name in about["tensors"]))
    for name, shape in about["tensors"].items():
        print(f"    {name:<{width}}{' x '.join(f'{n:,}' for n in shape)}")
    print(f"  largest |weight|  {about['largest_weight']:.4g}")


def _some(classes, most=10):
    shown = ", ".join(json.dumps(label) for label in classes[:most])  # free text of the file's
    return shown if len(classes) <= most else f"{shown}, ... ({len(classes):,})"


def _in_words(layer):
    layer = dict(layer)
    size = layer.pop("size")
    units = layer.pop("units" if "units" in layer else "activation")
    parts = layer.pop("parts", [])
    options = "".join(f", {_option(name, value)}" for name, value in layer.items())
    if parts:
        options = f": {'; '.join(map(_in_words, parts))}"
    return f"{size:,} {units} units{options}"


def _option(name, value):
    """Return an option of a layer in words."""
    if name == "trials":
        return f"{value:,} draws a row"
    if name == "mean_trials":
        return f"{value:,.4g} draws a row on average, each row its own number"
    return f"{name} {value}"


def describe_file(path):
    """Read a model file and say what is in it, as plain data.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict
        ``file``, ``format_version``, ``model``, ``estimator`` (or None), ``layers`` (of a
        mixture none; of a belief network each with ``lower`` and ``upper``, beside ``top``, the
        ``layers`` of its uppermost machine; of a network beside a machine those of the network,
        and ``machine`` with its own), ``n_features`` and ``n_components`` of a mixture,
        ``n_inputs`` of a network, ``n_columns``, ``n_hidden``, ``n_known``, ``scale`` and ``rows``
        of a machine of ratings, ``n_parameters``, ``tensors`` (shapes by name),
        ``largest_weight`` (of a mixture: of the log odds), ``classes`` (labels in the order of
        the units that stand for them, or None), ``feature_names`` (of the columns, or None).

    Raises
    ------
    ModelFileError
        If the file is not a whole, valid model of a known version.
    OSError
        If it cannot be read.
    """
    with model_files.opened(path) as file:  # once: it may be replaced meanwhile
        model, extra = model_files.read_model(file)
    config, tensors = model_files.describe(model)
    config |= config.get("network", {})
    classes, names = extra.get("classes"), extra.get("feature_names")
    if isinstance(classes, dict):  # dates, as they stand in files
        try:
            classes = json_classes(classes_of_plain(classes))
        except ValueError as error:
            raise model_files.ModelFileError(f"{path}: {error}") from None
    return {
        "file": str(path),
        "format_version": file.config["format_version"],
        "model": config["model"],
        "estimator": extra.get("estimator"),
        "layers": config.get("layers", []),
        "classes": classes if isinstance(classes, list) else None,
        "feature_names": names if isinstance(names, list) else None,
        **{name: config[name] for name in ("top", "machine", "scale", *SIZES) if name in config},
        **({"rows": extra.get("rows")} if "scale" in config else {}),
        "n_parameters": sum(tensor.size for tensor in tensors.values()),
        "tensors": {name: list(tensor.shape) for name, tensor in sorted(tensors.items())},
        "largest_weight": max(
            float(np.abs(tensor).max())
            for name, tensor in tensors.items() if tensor.ndim > 1 and name not in NO_WEIGHTS
        ),
    }
