"""Which kind of file system a folder is on: SQLite's write-ahead log wants a local one."""

from __future__ import annotations

from pathlib import Path

__all__ = ["file_system", "is_network"]

_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb",
    "smb2",
    "smb3",
    "smbfs",
    "afpfs",
    "lustre",
    "gpfs",
    "ceph",
    "beegfs",
    "9p",
    "afs",
}
_NETWORK_FUSE = ("sshfs", "gcsfuse", "s3fs", "glusterfs", "rclone", "blobfuse", "mount-s3")


def file_system(path: Path) -> str | None:
    """Type of the file system that `path` is on or will be on; None where it cannot be told."""
    try:
        mounts = [
            line.split() for line in Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
        ]
    except OSError:
        return None
    parents = {str(folder) for folder in (path.resolve(), *path.resolve().parents)}
    best, kind = "", None
    for _, point, name, *_ in mounts:
        where = point.encode().decode("unicode_escape")  # spaces are written as \040
        if where in parents and len(where) >= len(best):  # the last mount on a point hides earlier ones
            best, kind = where, name
    return kind


def is_network(kind: str | None) -> bool:
    """Whether a file system of this type is shared over a network."""
    return kind is not None and (kind in _NETWORK or (kind.startswith("fuse.") and kind[5:] in _NETWORK_FUSE))
