"""Training of classifiers, resumable after every epoch with the same bits."""

from convrfm.training.loop import TrainingData, TrainingResult, TrainingSettings, train

__all__ = ["TrainingData", "TrainingResult", "TrainingSettings", "train"]
