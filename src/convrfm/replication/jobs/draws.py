"""How a draw of a local-signal task lies on disk."""

from pathlib import Path

from convrfm.datasets.local_signal import LocalSignalDraw, LocalSignalSplit
from convrfm.system.storage import load_arrays, write_arrays

__all__ = ["read_draw", "write_draw"]


def write_draw(path: Path, draw: LocalSignalDraw) -> None:
    """Write the arrays of both splits, as `train/signal` and so on.

    Raises:
        StorageError: see `convrfm.system.storage`.
    """
    splits: dict[str, LocalSignalSplit] = vars(draw)
    write_arrays(
        path, {f"{name}/{part}": array for name, split in splits.items() for part, array in vars(split).items()}
    )


def read_draw(path: Path) -> LocalSignalDraw:
    """Read what `write_draw` wrote."""
    arrays = load_arrays(path)
    splits = [
        LocalSignalSplit(**{part: arrays[f"{name}/{part}"] for part in ("signal", "inside", "frame", "labels")})
        for name in ("train", "test")
    ]
    return LocalSignalDraw(*splits)
