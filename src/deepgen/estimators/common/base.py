"""What estimators around a core model are to scikit-learn."""

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin


class FeatureEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Mix-in: `model_` once it is fitted; `transform` turns rows, sparse too, into float32."""

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
