"""What estimators around a core model are to users and to scikit-learn."""

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from deepgen.io import model_files
from deepgen.io.schemas.registry import schema_for
from deepgen.layers.units import LARGEST_VALUE


class ModelEstimator:
    """Mix-in: `model_` once it is fitted, and a file for it."""

    # The name in the file, by which `load` finds the estimator; a class derived from it keeps it.
    _saved_as = None
    # The processes that share a run: a hyper-parameter of those estimators that can have them.
    communicator = None
    # Whether `fit` reads files of which each process opens its own.
    takes_files = False

    def save(self, path):
        """Write the model to one file, atomically; :func:`deepgen.load` reads it.

        The file holds the model and what its answers need: names of columns, classes of labels,
        the seed that likelihoods are estimated with. Hyper-parameters and history are not kept,
        nor are particles: samples of a loaded model start from its biases.

        Parameters
        ----------
        path : str or path-like
            By custom ending in ``.safetensors``.

        Raises
        ------
        NotFittedError
            If there is no model yet.
        ValueError
            If its parameters are so large that :func:`deepgen.load` would refuse it.
        OSError
            If the file cannot be written; an existing file is unharmed.
        """
        check_is_fitted(self)
        if not schema_for(self.model_).is_usable(self.model_):
            raise ValueError(
                "the model has parameters so large that fields overflow, or that samples lie "
                f"beyond +-{LARGEST_VALUE:g}, and could not be loaded again; train it with a "
                "smaller learning rate"
            )
        extra = {"estimator": self._saved_as or type(self).__name__, **self._beside_model()}
        if hasattr(self, "feature_names_in_"):
            extra["feature_names"] = list(map(str, self.feature_names_in_))
        if "table_" in vars(self):
            extra |= self.table_.plain()
        model_files.save(self.model_, path, extra=extra)

    def _beside_model(self):
        """Return further entries of the model's file, such as classes: plain data by name."""
        return {}

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model_")


class FeatureEstimator(ModelEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Mix-in: `transform` turns rows, sparse too, into features, float32."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
