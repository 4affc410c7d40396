"""Optional dependencies: what is missing, and the command that installs it."""

import re
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from convrfm.errors import ConvRFMError

__all__ = ["MissingExtraError", "how_to_install", "require"]

PACKAGES = {"PIL": "pillow", "yaml": "pyyaml"}  # packages whose modules have another name


class MissingExtraError(ConvRFMError, ImportError):
    """Something needs a package of an extra that is not installed."""


def how_to_install(*extras: str) -> str:
    """Give the command that installs the missing packages of extras, or all their packages if none is missing.

    It names packages and not extras, since convrfm itself need not be on an index.
    """
    wanted = _requirements(*extras)
    missing = [requirement for package, requirement in wanted.items() if not _is_installed(package)]
    return _command(missing or list(wanted.values()), extras)


def require(extra: str, *modules: str, what: str) -> None:
    """Check that modules of an extra can be imported, without importing them.

    Args:
        extra: its name in pyproject.toml.
        modules: as they are imported.
        what: needs them, to begin a sentence with, such as "Drawing".

    Raises:
        MissingExtraError: one of them is missing.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        packages = [PACKAGES.get(name, name) for name in missing]
        wanted = [requirement for package, requirement in _requirements(extra).items() if package in packages]
        msg = f"{what} needs {' and '.join(missing)}, not installed here: {_command(wanted, (extra,))}"
        raise MissingExtraError(msg)


def _requirements(*extras: str) -> dict[str, str]:
    """The requirements of extras by package, such as "pillow>=11", from the metadata of the installation."""
    try:
        found = requires("convrfm") or []
    except PackageNotFoundError:  # sources that are not installed
        return {}
    split = [requirement.partition(";") for requirement in found]
    named = [text.strip() for text, _, marker in split if any(f'extra == "{extra}"' in marker for extra in extras)]
    return {re.split(r"[^\w.-]", text, maxsplit=1)[0]: text for text in named}


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _command(requirements: list[str], extras: tuple[str, ...]) -> str:
    if not requirements:
        return f'pip install ".[{",".join(extras)}]" in a checkout'
    return " ".join(["pip install", *(f'"{requirement}"' for requirement in requirements)])
