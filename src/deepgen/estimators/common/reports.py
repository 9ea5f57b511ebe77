"""How an estimator came by its last likelihoods."""


class ReportingEstimator:
    """An estimator that tells how it estimated its last likelihoods, until it learns again."""

    @property
    def likelihood_report_(self):
        """How the last likelihoods were estimated; there is none before, nor after more learning.

        Returns
        -------
        dict
        """
        report = self._fitted.report
        if report is None:
            raise AttributeError(
                "likelihood_report_ is of the last likelihoods: call score or score_samples first"
            )
        return report
