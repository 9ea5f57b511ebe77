"""Writing a file so that a crash leaves the old one or the new one, never half of it.

The bytes go into a temporary file beside the target, which its writer locks while it lives; they
are flushed to the disk, and the temporary file is renamed over the target. Temporary files that
nobody locks are what killed writers left behind; the next writer removes them.
"""

import contextlib
import logging
import os
import re
import secrets
import stat
from pathlib import Path

from deepgen.checks import as_path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
CHUNK = 2**24  # bytes of one write

logger = logging.getLogger("deepgen")


def target_of(path):
    """Return the file that a write to `path` replaces or makes: symbolic links are followed.

    Raises
    ------
    OSError
        If something is there that is no regular file: a folder, a device, a pipe.
    """
    path = Path(os.path.realpath(as_path(path)))
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"path must name a file, got the folder {str(path)!r}")
        if not stat.S_ISREG(mode):
            raise OSError(
                f"path must name a regular file, or none yet, got {str(path)!r}, a device, pipe "
                "or socket; name another file"
            )
    return path


def require_writable(path, what):
    """Raise OSError where a later :func:`write_atomically` would fail: no folder, or no file.

    So a run tells it before the training, not after it.

    Parameters
    ----------
    path : Path
    what : str
        What the message calls the file.
    """
    folder = target_of(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{what} {str(path)!r} needs its folder {str(folder)!r}: make it first"
        )


def write_atomically(path, data):
    """Write bytes beside `path`, flush them to the disk, and rename: never half a file.

    A symbolic link stays one, and what it leads to is replaced. A file that is replaced hands its
    permissions on. What earlier writers of the same path left behind when they were killed is
    removed.

    Raises
    ------
    OSError
        If it cannot be written, or if something is there that is no regular file. The error names
        `path`, not the temporary file.
    """
    path = target_of(path)
    _sweep(path)
    try:
        _replace(path, data)
    except OSError as error:
        if error.filename is None:
            raise
        # the temporary file has another name each time: with it, no two warnings of a run whose
        # disk is full would be the same, and each of them would be shown
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace(path, data):
    """Write, flush, rename, and flush the folder, which holds the name."""
    temporary, handle = _temporary(path)
    try:
        _keep_mode(path, handle)
        left = memoryview(data)
        while len(left):  # a write may take less than all
            left = left[os.write(handle, left[:CHUNK]) :]
        os.fsync(handle)
        os.replace(temporary, path)  # still locked: that tells others that we are alive
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep_mode(path, handle):
    """Give an open file the permissions of the one that it will replace."""
    if hasattr(os, "fchmod"):
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(handle, stat.S_IMODE(path.stat().st_mode))


def _temporary(path):
    """Make a file beside `path`, locked while its writer lives."""
    while True:
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            return temporary, handle
        # some network disks have no locks: then nothing is swept there either
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return temporary, handle
        os.close(handle)  # swept by another writer before it was locked


def _sweep(path):
    """Remove temporary files of `path` whose writers are dead: nobody holds their locks."""
    ours = rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.tmp"
    # tidying up is no reason to fail: what is wrong with the folder, the write will say
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent) if fcntl else ():
            if re.fullmatch(ours, name):
                _remove_if_stale(path.parent / name)


def _remove_if_stale(temporary):
    """Remove a temporary file unless a living writer holds its lock."""
    handle = os.open(temporary, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        temporary.unlink(missing_ok=True)
    except BlockingIOError:
        logger.debug("%s is being written by another process", temporary)
    finally:
        os.close(handle)
