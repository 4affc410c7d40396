"""Scikit-learn's own checks of estimators.

They pass tables `(n, features)`. `Vectors` takes a row for an image of one pixel with a channel for each feature, on which
ConvRFM is RFM on vectors, and passes on everything else as it comes, so that it is the estimator that accepts or refuses.
"""

import numpy as np
from scipy import sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from convrfm import ConvRFMClassifier, ConvRFMRegressor, DeepConvRFMClassifier, DeepConvRFMRegressor


def as_pixels(X):
    if sparse.issparse(X):
        return X
    array = np.asarray(X)
    return array[:, :, None, None] if array.ndim == 2 else array


class Vectors:
    def fit(self, X, y, *, eval_set=None):
        return super().fit(as_pixels(X), y, eval_set=eval_set)

    def outputs(self, X):
        return super().outputs(as_pixels(X))

    def transform(self, X):
        return super().transform(as_pixels(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


class ClassifierOfVectors(Vectors, ConvRFMClassifier):
    pass


class DeepClassifierOfVectors(Vectors, DeepConvRFMClassifier):
    pass


class RegressorOfVectors(Vectors, ConvRFMRegressor):
    pass


class DeepRegressorOfVectors(Vectors, DeepConvRFMRegressor):
    pass


REFUSED = {
    "check_dtype_object": "pixels are numbers: an array of objects is refused, even if the objects are numbers",
    "check_estimators_empty_data_messages": "an empty X is refused by its four axes, not by its number of features",
}
"""Checks that fail, and why they may."""

SETTINGS = {"patch_size": 1, "rounds": 2, "ridges": (1e-3,), "n_jobs": 1, "random_state": 0}
CASES = [
    ClassifierOfVectors("cntk", depth=1, **SETTINGS),
    ClassifierOfVectors("laplace", **SETTINGS),
    DeepClassifierOfVectors("laplace", stages=2, filters=8, **SETTINGS),
    RegressorOfVectors("laplace", **SETTINGS),
    DeepRegressorOfVectors("laplace", stages=2, filters=8, **SETTINGS),
]


@parametrize_with_checks(CASES, expected_failed_checks=lambda _: REFUSED, xfail_strict=True)
def test_scikit_learn(estimator, check):
    check(estimator)
