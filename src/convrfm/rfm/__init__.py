"""ConvRFM and Deep ConvRFM: rounds, stages, ridge regression, estimators, model files."""
