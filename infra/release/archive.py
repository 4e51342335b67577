"""Archives and checksums whose bytes depend on their content and the given time only."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import time
import zipfile
from pathlib import Path

NAME = "SHA256SUMS"


def lambda_zip(binary: Path, target: Path, epoch: int) -> None:
    """Lambda runs the file `bootstrap` at the root of the zip. The zip keeps its mode."""
    # A zip has no time before 1980.
    entry = zipfile.ZipInfo("bootstrap", time.gmtime(max(epoch, 315532800))[:6])
    entry.create_system = 3
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(target, "w") as file:
        file.writestr(entry, binary.read_bytes(), compresslevel=9)


def tar_gz(folder: Path, target: Path, epoch: int) -> None:
    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = epoch
        # What a umask would change.
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with target.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=epoch) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as file:
            for path in [folder, *sorted(folder.rglob("*"))]:
                file.add(path, str(path.relative_to(folder.parent)), recursive=False, filter=plain)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checksums(folder: Path) -> None:
    """Writes SHA256SUMS for the folder, in the form that `sha256sum --check` reads."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    lines = [f"{sha256(path)}  {path.relative_to(folder)}\n" for path in files]
    (folder / NAME).write_text("".join(lines), encoding="utf-8")
