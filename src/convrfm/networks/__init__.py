"""The finite networks of the paper."""

from convrfm.networks.plain_cnn import PlainCNN
from convrfm.networks.shallow import ShallowCNN

__all__ = ["PlainCNN", "ShallowCNN"]
