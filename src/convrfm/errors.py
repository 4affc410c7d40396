"""Errors and warnings of the package; messages say what was found, what was expected, and what to do."""

__all__ = [
    "AbsentDataError", "ConfigError", "ConvRFMError", "ConvRFMWarning", "CorruptDataError", "DataError",
    "ImageSizeError", "InputError", "MachineError", "MetricError", "NonFiniteError", "ProbeError", "StorageError",
]  # fmt: skip


class ConvRFMError(Exception):
    """Base of every error that the package raises on purpose."""


class InputError(ConvRFMError, ValueError):
    """An argument has the wrong shape, type or range."""


class NonFiniteError(InputError):
    """An array holds NaN or an infinity."""


class ImageSizeError(InputError):
    """The images are smaller than the depth and the patch size allow."""


class MetricError(InputError):
    """A patch metric is not symmetric, not positive semi-definite, or of the wrong size."""


class MachineError(InputError):
    """This machine has too little memory."""


class ProbeError(ConvRFMError):
    """There are too few random probes."""


class ConfigError(ConvRFMError, ValueError):
    """The configuration has a wrong key, type or range."""


class DataError(ConvRFMError):
    """A data set is unknown, absent or corrupt."""


class AbsentDataError(DataError):
    """Files of a data set are missing, or cannot be fetched."""


class CorruptDataError(DataError):
    """Files of a data set are not what they should be."""


class StorageError(ConvRFMError, OSError):
    """A result cannot be written: a read-only folder or a full disk."""


class ConvRFMWarning(UserWarning):
    """Something that does not stop the work, but that a careful user wants to know."""


def refuse(wrong: bool, found: str, kind: type[Exception] = CorruptDataError) -> None:
    """Raise an error of a kind with what was found if it is wrong."""
    if wrong:
        raise kind(found)
