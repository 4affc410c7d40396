"""Addresses of files on Google Drive."""

__all__ = ["drive_address"]


def drive_address(key: str) -> str:
    """Address of the file with this key; it answers with a web page when its quota is used up."""
    return f"https://drive.usercontent.google.com/download?id={key}&export=download&confirm=t"
