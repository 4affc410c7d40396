"""What a data set holds, taken from the data."""

from pathlib import Path
from typing import Any

from convrfm.datasets.entries import Entry

__all__ = ["summarise"]


def summarise(entry: Entry, root: Path) -> dict[str, Any]:
    """Read a data set through, as far as its labels and the first image of each split go.

    Returns:
        for images, by split: `images` and `classes`, their numbers; for weights, under "weights": `tensors` and
        `parameters`.

    Raises:
        CorruptDataError: it cannot be read.
    """
    # Readers bring in torchvision, which nothing else here needs.
    if entry.network:
        from convrfm.datasets.pretrained import read_weights

        tensors = read_weights(entry, root)
        return {"weights": {"tensors": len(tensors), "parameters": sum(tensor.numel() for tensor in tensors.values())}}
    from convrfm.datasets.reading.dispatch import read_split, splits_there
    from convrfm.datasets.reading.split import explained_reading

    found = {}
    for name in splits_there(entry, root):
        split = read_split(entry, root, name)
        with explained_reading(f"The first image of the split {name} of {entry.title}"):
            split.image(0)
        found[name] = {"images": len(split), "classes": len(split.classes)}
    return found
