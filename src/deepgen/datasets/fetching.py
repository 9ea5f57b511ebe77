"""Finding the files of a data set: which folder, whether they are whole, how to get them."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataFile:
    """A file that a loader reads.

    Attributes
    ----------
    name : str
    size : int
        Bytes.
    sha256 : str
    url : str or None
        Where it can be had, if that is known.
    page : str or None
        The page that offers it, where it must be fetched by hand.
    """

    name: str
    size: int
    sha256: str
    url: str | None = None
    page: str | None = None


def find(file, dataset, data_home=None):
    """Return the path of a data file, checked, downloaded first where that is possible.

    Parameters
    ----------
    file : DataFile
    dataset : str
        Name of the folder that holds the data set.
    data_home : path-like or None
        Folder that holds folders of data sets. None: ``$DEEPGEN_DATA``, else
        ``~/.cache/deepgen`` (``$XDG_CACHE_HOME/deepgen`` where that is set).

    Raises
    ------
    FileNotFoundError
        If the file is not there and cannot be downloaded; says where to put it.
    ValueError
        If its content is not the known one.
    """
    folder = folder_of(dataset, data_home)
    path = folder / file.name
    if not path.exists():
        _download(file, folder)
    size, sha256 = path.stat().st_size, _sha256(path)  # the hash of all of MNIST takes 13 ms
    if (size, sha256) != (file.size, file.sha256):
        raise ValueError(
            f"{path} is not the known file ({file.size} bytes, SHA-256 {file.sha256}), got "
            f"{size} bytes, SHA-256 {sha256}; delete it and fetch it again"
        )
    return path


def folder_of(dataset, data_home=None):
    """Return the folder that holds a data set; see :func:`find`."""
    if data_home is not None:
        return Path(data_home).expanduser() / dataset
    if os.environ.get("DEEPGEN_DATA"):
        return Path(os.environ["DEEPGEN_DATA"]).expanduser() / dataset
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "deepgen" / dataset


def _download(file, folder):
    """Fetch a file into a folder, or raise FileNotFoundError with what a user can do."""
    remedy = "set DEEPGEN_DATA or data_home to the folder that holds it"
    if file.page is not None:
        remedy += f"; {file.page} offers it"
    if file.url is not None:
        try:
            import pooch
        except ImportError:
            remedy += ", or pip install 'deepgen[data]' to download it"
        else:
            try:
                pooch.retrieve(
                    file.url, known_hash=f"sha256:{file.sha256}", fname=file.name, path=folder
                )
            except (OSError, ValueError) as error:  # no network, no right to write, another file
                raise _missing(file, folder, f"{remedy} ({file.url}: {error})") from error
            return
    raise _missing(file, folder, remedy)


def _missing(file, folder, remedy):
    """Make the error that says which file is missing, where it belongs and how to get it."""
    return FileNotFoundError(
        f"{file.name} is missing: put the file of {file.size} bytes with SHA-256 {file.sha256} "
        f"into {folder}, or {remedy}"
    )


def _sha256(path):
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
