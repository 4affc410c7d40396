"""Checks of settings that users construct: types first, so that a wrong one ends in a sentence and not in a traceback.

Plain functions and not scikit-learn's, whose import takes a second in each of the many jobs of the workflow.
"""

from typing import Any

import numpy as np

from convrfm.errors import InputError

__all__ = ["check_integer", "is_count", "is_positive", "one_of", "refuse_first"]


def is_count(value: Any, least: int = 1) -> bool:
    """Whether this is an integer of at least `least`, of Python or NumPy; True is not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def check_integer(name: str, value: Any, least: int = 1) -> None:
    """Refuse a setting by its name.

    Raises:
        InputError: it is no integer, or below the least.
    """
    if not is_count(value, least):
        msg = f"{name} must be an integer of at least {least}, but it is {value!r}."
        raise InputError(msg)


def is_positive(value: Any) -> bool:
    """Whether this is a finite positive number, of Python or NumPy; True is not."""
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return real and bool(0 < value < np.inf)


def one_of(settings: Any, options: dict[str, tuple[str, str]]) -> dict[str, bool]:
    """Checks for `refuse_first` of settings that have one of two texts."""
    values = {name: getattr(settings, name) for name in options}
    return {
        f"{name} must be {first!r} or {second!r}": isinstance(values[name], str) and values[name] in (first, second)
        for name, (first, second) in options.items()
    }


def refuse_first(settings: Any, checks: dict[str, bool]) -> None:
    """Refuse settings by the first check that does not hold.

    Args:
        settings: what is checked.
        checks: by the sentence of what must hold, which begins with the name of the setting.

    Raises:
        InputError: a check does not hold.
    """
    for sentence, holds in checks.items():
        if not holds:
            msg = f"{sentence}, but it is {getattr(settings, sentence.split()[0])!r}."
            raise InputError(msg)
