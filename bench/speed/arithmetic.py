"""Which arithmetic of deepgen a comparison times, and a look that it is the one it tells.

The package is imported inside: the peers' interpreter has none.
"""


def describe():
    """Return a line about the instruction set and the weights of passes."""
    import deepgen as dg

    weights = "16-bit fixed point" if is_fixed_point() else "float32"
    return f"deepgen: {dg.show_config()['cpu']} kernels, weights of binary layers read as {weights}"


def is_fixed_point():
    """Tell whether passes of binary states are to read fixed-point weights."""
    from deepgen.runtime.precision import precision

    return precision() == "auto"


def check_on_grid(model):
    """Raise where a model would be read as float32 although fixed point is in force.

    What training and its files give is on the grid (docs/kernels.md). A model that is not gives
    right answers, slower: a comparison would time another path than it tells.
    """
    from deepgen.runtime.precision import pack_exactly

    if is_fixed_point() and pack_exactly(*model.layers, model.weights[0]) is None:
        raise RuntimeError("the weights are not on the fixed-point grid: float32 would be timed")
