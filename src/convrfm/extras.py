"""Optional parts of the installation, by the names that `pip install "convrfm[...]"` knows."""

from importlib.util import find_spec

from convrfm.errors import ConvRFMError

__all__ = ["MissingExtraError", "how_to_install", "require"]


# Here, as a change of convrfm.errors makes every run stale.
class MissingExtraError(ConvRFMError, ImportError):
    """Something needs a package of an extra that is not installed."""


def how_to_install(*extras: str) -> str:
    """Give the command that installs extras."""
    return f'pip install "convrfm[{",".join(extras)}]"'


def require(extra: str, *modules: str, what: str) -> None:
    """Check that modules of an extra can be imported, without importing them.

    Args:
        extra: its name in pyproject.toml.
        modules: as they are imported.
        what: needs them, to begin a sentence with, such as "Drawing".

    Raises:
        MissingExtraError: one of them is not there.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        msg = f"{what} needs {' and '.join(missing)}, not installed here: {how_to_install(extra)}"
        raise MissingExtraError(msg)
