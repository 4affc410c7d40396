"""Training of classifiers, resumable after every epoch with the same bits."""

from convrfm.training.loop import train
from convrfm.training.settings import TrainingData, TrainingResult, TrainingSettings

__all__ = ["TrainingData", "TrainingResult", "TrainingSettings", "train"]
