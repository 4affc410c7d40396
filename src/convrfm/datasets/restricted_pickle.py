"""Reading of pickles from others as data: the batches of CIFAR and ImageNet32, and weights of networks.

A pickle is a program. Here it may build arrays, strings, numbers and containers of these, and nothing else: NumPy's own
constructors are replaced by plain ones, which check their arguments; not even NumPy's code for unpickling runs on foreign
data.

Nor may it take more time or memory than its size: 175 bytes can encode a list that takes years to walk through. So it is
scanned before it is executed, with a model of its stack that holds the depth and the size of each object.
"""

import os
import pickle
import pickletools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from convrfm.datasets.entries import Entry
from convrfm.errors import CorruptDataError, refuse
from convrfm.system.storage import open_plain

if TYPE_CHECKING:
    import torch

__all__ = ["load_pickle", "read_weights"]

MOST_BYTES = 2**30  # of a file: a batch of ImageNet32 has 0.4 GB

MOST_STEPS, MOST_KEYS, DEEPEST = 2_000_000, 1000, 50
"""Of a pickle: CIFAR-100's takes 0.3 million steps, for a dictionary of 5 keys. Many keys can be made to collide."""

LARGEST_INTEGER = 256  # bytes

ALLOWED_STEPS = {
    "PROTO", "STOP", "FRAME", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG",
    "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL",
    "STACK_GLOBAL", "REDUCE", "BUILD", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET",
}  # fmt: skip
"""By the names of `pickletools`; sets, for one, are not."""

CONTAINERS = {"EMPTY_LIST", "LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT"}
FILLING = {"APPEND", "APPENDS", "SETITEM", "SETITEMS"}

_refuse = partial(refuse, kind=pickle.UnpicklingError)


class _Type:
    """Stands for a NumPy dtype while a pickle is read: only booleans and plain numbers are known."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = _text(name)
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # (version, byte order, ...): the rest describes structured types, which are refused by their name.
        self.order = _text(state[1]).replace("|", "=")

    def dtype(self) -> np.dtype[Any]:
        wrong = self.name[:1] not in "biufc" or not self.name[1:].isdigit() or self.order not in "<>="
        _refuse(wrong, f"arrays of type {self.name!r} are not allowed")
        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Stands for a NumPy array while a pickle is read."""

    value: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_column, content = state
        plain = isinstance(kind, _Type) and isinstance(content, str | bytes)
        _refuse(not plain, "an array whose content is not plain bytes is not allowed")
        raw = content.encode("latin1") if isinstance(content, str) else content
        flat = np.frombuffer(raw, kind.dtype())
        self.value = flat.reshape(shape, order="F" if by_column else "C")


def _new_scalar(kind: _Type, content: str | bytes) -> Any:
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, kind.dtype())[0].item()


def _to_bytes(text: str, encoding: str = "latin1") -> bytes:
    """What `_codecs.encode` does in pickles of bytes, for their one encoding."""
    _refuse(encoding not in ("latin1", "latin-1"), f"the encoding {encoding!r} is not allowed")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _to_bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: _Array() for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _new_scalar for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        constructor = _ALLOWED.get((module, name))
        if constructor is None:
            msg = f"it asks for {module}.{name}"
            raise pickle.UnpicklingError(msg)
        # A throw-away function: a pickle can set attributes of what it is given, and these must not outlive it.
        return lambda *arguments: constructor(*arguments)


def load_pickle(path: Path) -> Any:
    """Read a pickle of arrays, strings, numbers and containers, written by Python 2 or 3.

    Returns:
        the object, with text and bytes of Python 2 as text in Latin-1.

    Raises:
        CorruptDataError: it holds anything else, is damaged, or would outgrow its size; nothing of it was executed.
    """
    try:
        with open_plain(path, MOST_BYTES) as file:
            _check_steps(_Whole(file))
            file.seek(0)
            return _plain(_Unpickler(file, encoding="latin1").load())
    except (
        pickle.UnpicklingError, AttributeError, EOFError, LookupError, MemoryError, OSError, OverflowError, RecursionError,
        TypeError, ValueError,
    ) as error:  # fmt: skip
        msg = f"{path} is refused ({error}): it may hold only arrays, strings, numbers and containers. Fetch it again."
        raise CorruptDataError(msg) from error


def read_weights(entry: Entry, root: Path) -> dict[str, "torch.Tensor"]:
    """Read the weight file of an entry, in a folder, as tensors and nothing else, and give the state dictionary (CPU).

    A training's checkpoint is taken as well: its `state_dict`, without the prefix `module.` of networks that were trained
    in parallel. Names and shapes are compared with torchvision's networks here; those of other networks, whose whole
    SHA-256 is known, by `convrfm.networks.zoo.with_weights`.

    Raises:
        CorruptDataError: the file holds anything but tensors by name, or tensors of other names or shapes than the network
            of torchvision has.
    """
    import torch

    path = root / entry.required[0]
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # it fails in all ways
        msg = f"{path} cannot be read ({type(error).__name__}: {error})."
        raise CorruptDataError(msg) from error
    found = found.get("state_dict", found) if isinstance(found, dict) else {}
    wrong = not found or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items())
    refuse(wrong, f"{path} does not hold the weights of {entry.network}: it has other things than tensors by name.")
    found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    if entry.trained_on == "imagenet":
        _compare_with_torchvision(path, entry.network, found)
    return found


def _compare_with_torchvision(path: Path, network: str, found: "dict[str, torch.Tensor]") -> None:
    import torch
    from torchvision.models import get_model

    with torch.device("meta"):
        expected = get_model(network, weights=None).state_dict()
    # Files from before PyTorch 0.4.1 lack the counters of batch normalisation, which nothing computes with.
    needed = {name for name in expected if not name.endswith("num_batches_tracked")}
    same = needed <= set(found) <= set(expected)
    refuse(not same, f"{path} does not hold the weights of {network}: the names of its tensors differ.")
    for name, tensor in found.items():
        there, due = tuple(tensor.shape), tuple(expected[name].shape)
        refuse(there != due, f"{path}: {name} has shape {there}, but {network} has {due}.")


class _Whole:
    """A file that refuses to read more than it has, rather than to make room for it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        self.tell, self.readline = file.tell, file.readline

    def read(self, count: int) -> bytes:
        self.check(count)
        return self.file.read(count)

    def check(self, count: int) -> None:
        left = self.size - self.tell()
        _refuse(count > left, f"{count} bytes should follow, and {left} do")


def _check_steps(file: _Whole) -> None:
    """Go through a pickle without executing it, and refuse one that would take more time or memory than its size."""
    stack: list[_Item] = []  # what lies above the last mark
    below: list[list[_Item]] = []
    memo: dict[int, _Item] = {}
    keys = reused = 0
    for number, (step, found, _) in enumerate(pickletools.genops(file)):  # type: ignore[arg-type]
        name, argument = step.name, cast("Any", found)
        _refuse(name not in ALLOWED_STEPS, f"{name} is not allowed")
        _refuse(number == MOST_STEPS, f"it has more than {MOST_STEPS} steps")
        if name == "FRAME":
            file.check(argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            place = len(memo) if argument is None else argument
            # A place far away makes room for all places before it.
            _refuse(place > number, f"{name} {place} skips places")
            memo[place] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            item = memo[argument]
            # Used twice at each level, containers would double.
            _refuse(item.depth > 0, "it uses a container twice")
            reused += item.size
            _refuse(reused > file.size, "it uses its texts again and again")
            stack.append(item)
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name != "PROTO":
            count, taken = len(step.stack_before), []
            if pickletools.markobject in step.stack_before:
                count, taken, stack = count - 2, stack, below.pop()
            _refuse(count > len(stack), "its stack is empty")
            taken = stack[len(stack) - count :] + taken
            del stack[len(stack) - count :]
            if name in ("DICT", "SETITEM", "SETITEMS"):
                keys += len(taken) // 2
                _refuse(keys > MOST_KEYS, f"its dictionaries have more than {MOST_KEYS} keys")
            if step.stack_after:
                item = _made(name, argument, taken)
                _refuse(item.depth > DEEPEST, f"it is nested more than {DEEPEST} levels deep")
                stack.append(item)


class _Item(NamedTuple):
    """An object on the stack."""

    depth: int  # levels of containers; 0 for what holds no other object
    size: int  # bytes of text in it


def _made(name: str, argument: Any, taken: list[_Item]) -> _Item:
    if isinstance(argument, int):
        _refuse(argument.bit_length() > 8 * LARGEST_INTEGER, f"it has an integer of {argument.bit_length()} bits")
    size = len(argument) if isinstance(argument, str | bytes) else sum(item.size for item in taken)
    if name in CONTAINERS:
        return _Item(1 + max((item.depth for item in taken), default=0), size)
    if name in FILLING:
        return _Item(max(taken[0].depth, *(1 + item.depth for item in taken[1:]), 0), size)
    # Arrays, types and scalars hold nothing that could be walked through; BUILD may leave a container as it was.
    return _Item(taken[0].depth if name == "BUILD" else 0, size)


def _plain(value: Any) -> Any:
    """Put the arrays in the place of what stood for them, through all containers."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
