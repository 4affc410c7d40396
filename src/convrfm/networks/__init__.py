"""The finite networks of the paper."""

from convrfm.networks.plain_cnn import PlainCNN

__all__ = ["PlainCNN"]
