"""The outputs of a network among all that it gives."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch

from convrfm.errors import InputError

__all__ = ["Output", "pick_outputs"]

Output: TypeAlias = str | int | Callable[[Any], torch.Tensor] | None
"""A key or attribute, an index, a function, or None for a tensor as it is."""


def pick_outputs(given: Any, output: Output, count: int) -> torch.Tensor:
    """Give the outputs `(n, classes)` of a network.

    Args:
        given: what the network gave.
        output: which part of it.
        count: n.

    Raises:
        InputError: there is no such part, or it has another shape.
    """
    try:
        if callable(output):
            found = output(given)
        elif isinstance(output, str):
            found = given[output] if isinstance(given, Mapping) else getattr(given, output)
        else:
            found = given if output is None else given[output]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".strip(" .:")
        msg = f"The network gave {_described(given)}, from which output={output!r} picks nothing ({reason})."
        raise InputError(msg) from error
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != count:
        how = "as in output='logits' or output=0"
        if isinstance(found, torch.Tensor):
            how = "a function of what the network gives"
        msg = (
            f"The network must map {count} images to outputs of shape ({count}, classes), the logits only, but it gave "
            f"{_described(found)}. Choose or reshape by `output`, {how}."
        )
        raise InputError(msg)
    if not found.is_floating_point() or found.layout != torch.strided or found.shape[1] == 0:
        msg = (
            f"The outputs must be real numbers of at least one class in a dense tensor, but they have the dtype {found.dtype}, "
            f"the layout {found.layout} and the shape {tuple(found.shape)}."
        )
        raise InputError(msg)
    return found


def _described(given: Any) -> str:
    """Kind and shapes of what a network gave."""
    if isinstance(given, torch.Tensor):
        return f"a tensor of shape {tuple(given.shape)}"
    kind = type(given).__name__
    if isinstance(given, Mapping):
        return f"a {kind} with the keys {', '.join(map(repr, given))}"
    if isinstance(given, tuple | list):
        return f"a {kind} of ({', '.join(_described(part) for part in given)})"
    if hasattr(given, "__dataclass_fields__"):
        return f"a {kind} with the fields {', '.join(given.__dataclass_fields__)}"
    return f"a {kind}"
