"""The folders of data that the configuration names, looked at before the first job."""

from collections.abc import Mapping
from pathlib import Path

from convrfm.errors import ConfigError

__all__ = ["check_folders"]


def check_folders(data_dir: str, data_folders: Mapping[str, str]) -> None:
    """Check that `data_dir` can be a folder, and that all `data_folders` are there.

    Raises:
        ConfigError: with a sentence for each that is wrong.
    """
    lines = []
    home = Path(data_dir).absolute()
    existing = next(path for path in (home, *home.parents) if path.exists())
    if not existing.is_dir():
        lines.append(f"data_dir: {data_dir} cannot be written, as {existing} is a file: name another folder.")
    for name, folder in data_folders.items():
        if not Path(folder).exists():
            remedy = f"correct the path, or take {name} out of data_folders."
            lines.append(f"data_folders.{name}: there is no folder {folder}: {remedy}")
        elif not Path(folder).is_dir():
            lines.append(f"data_folders.{name}: {folder} is a file: name the folder that holds the data set.")
    if lines:
        raise ConfigError("\n".join(f"config.yaml: {line}" for line in lines))
