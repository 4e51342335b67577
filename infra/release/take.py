"""Takes the three zips of a release for infra/deploy.

    python3 infra/release/take.py FOLDER-OR-ARCHIVE ARCHITECTURE TARGET

The zips are in a folder, or in an archive of a release. If SHA256SUMS lies beside them, they must match it. Their code must
be for the architecture: Lambda would create functions that cannot start.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path

FUNCTIONS = ("vpc-enroller", "account-onboarder", "backfill")
# The number of the machine in an ELF header.
MACHINES = {62: "x86_64", 183: "arm64"}


class Refused(Exception):
    """What was given cannot be deployed."""


def files_of(place: Path) -> dict[str, bytes]:
    """The zips and their checksums, by name."""
    wanted = {*(f"{name}.zip" for name in FUNCTIONS), "SHA256SUMS"}
    if place.is_dir():
        folder = place / "zips" if (place / "zips").is_dir() else place
        return {name: (folder / name).read_bytes() for name in wanted if (folder / name).is_file()}
    if not place.is_file():
        raise Refused(f"{place} does not exist")
    try:
        with tarfile.open(place) as archive:
            entries = {Path(entry.name): entry for entry in archive.getmembers() if entry.isfile()}
            inside = {path.name: entry for path, entry in entries.items() if path.parent.name == "zips" and path.name in wanted}
            return {name: archive.extractfile(entry).read() for name, entry in inside.items()}
    except tarfile.TarError as error:
        raise Refused(f"{place} is neither a folder nor the archive of a release: {error}") from error


def machine_of(name: str, content: bytes) -> str:
    """The architecture of the code in a zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            entry = file.getinfo("bootstrap")
            head = file.read(entry)[:20]
    except (zipfile.BadZipFile, KeyError) as error:
        raise Refused(f"{name} is not a zip with the file bootstrap: {error}") from error
    if not entry.external_attr >> 16 & 0o100:
        raise Refused(f"{name}: bootstrap is not executable, so Lambda could not run it")
    return MACHINES.get(int.from_bytes(head[18:20], "little"), "another architecture") if head[:4] == b"\x7fELF" else "no binary"


def take(place: Path, architecture: str, target: Path) -> None:
    files = files_of(place)
    sums = dict(reversed(line.split(maxsplit=1)) for line in files.get("SHA256SUMS", b"").decode().splitlines())
    for name in (f"{function}.zip" for function in FUNCTIONS):
        if name not in files:
            raise Refused(f"{place} has no {name}")
        digest = hashlib.sha256(files[name]).hexdigest()
        if sums and sums.get(name) != digest:
            raise Refused(f"{name} is not the file that SHA256SUMS lists: fetch the release again")
        machine = machine_of(name, files[name])
        if machine != architecture:
            raise Refused(f"{name} is for {machine}, but Architecture is {architecture}: set Architecture, or take the other zips")
    target.mkdir(parents=True, exist_ok=True)
    for name in (f"{function}.zip" for function in FUNCTIONS):
        (target / name).write_bytes(files[name])
        print(f"  {name}: {hashlib.sha256(files[name]).hexdigest()}")
    if not sums:
        print("  there is no SHA256SUMS beside them, so nothing was compared")


if __name__ == "__main__":
    try:
        take(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
    except Refused as refused:
        print(f"ZIPS: {refused}", file=sys.stderr)
        sys.exit(1)
