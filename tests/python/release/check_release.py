#!/usr/bin/env python3
"""Makes the archive of a release from binaries that are built already, and deploys from it.

    python tests/python/release/check_release.py FOLDER-WITH-THE-BINARIES

Everything but the compilation is that of `python3 infra/release`: the same bytes twice, what Lambda can run, licences, the
bill of materials, and how infra/deploy takes the zips. It calls no AWS and builds nothing.

Exit code: 0 if all checks passed, 1 if one failed, 2 if they could not start.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])
ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "infra/release"))

import binaries
from common.sentences import Sentences, end_after, equal, none

NAMES = ("vpc-enroller", "account-onboarder", "backfill", "enroller")
HERE = binaries.of_this_machine()
OTHER = next(name for name in binaries.TRIPLES if name != HERE)
CONFIGURATION = (
    "CENTRAL_ACCOUNT=444455556667\nMANAGEMENT_ACCOUNT=111122223334\nHOME_REGION=eu-west-1\nTARGETS=r-ab12\n"
    "OrganizationId=o-a1b2c3d4e5\nExternalId=a-value-of-our-own-1\nEnrolledRegions=eu-west-1\n"
)


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=600, check=False)


def release(built: Path, output: Path, umask: int = 0o022) -> subprocess.CompletedProcess:
    before = os.umask(umask)
    try:
        options = ("--architecture", HERE, "--built", built, "--output", output)
        return run(sys.executable, ROOT / "infra/release", *options, SOURCE_DATE_EPOCH="1700000000")
    finally:
        os.umask(before)


class Archive:
    """An archive, unpacked as a person does."""

    def __init__(self, folder: Path):
        self.file = next(folder.glob("*.tar.gz"))
        with tarfile.open(self.file) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        self.root = next((folder / "unpacked").iterdir())

    def deploy(self, *steps: str, zips: Path | str = "", architecture: str = HERE) -> subprocess.CompletedProcess:
        configuration = self.root / "test.env"
        configuration.write_text(f"{CONFIGURATION}Architecture={architecture}\nZIPS={zips}\n")
        # A path without cargo: a person with an archive has no Rust.
        return run(self.root / "infra/deploy", "--config", configuration, *steps, PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin")


def what_it_has(sentences: Sentences, archive: Archive, built: Path) -> None:
    with sentences.check("SHA256SUMS lists every file, and sha256sum agrees"):
        for folder in (archive.root, archive.root / "zips"):
            done = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
            equal((done.returncode, done.stdout), (0, ""))
        listed = {line.split("  ")[1] for line in (archive.root / "SHA256SUMS").read_text().splitlines()}
        there = {str(path.relative_to(archive.root)) for path in archive.root.rglob("*") if path.is_file()}
        equal(there - listed, {"SHA256SUMS"})
    with sentences.check("a zip has an executable bootstrap, and nothing else"):
        for name in NAMES[:3]:
            with zipfile.ZipFile(archive.root / "zips" / f"{name}.zip") as file:
                entry = file.infolist()[0]
                equal([(e.filename, e.external_attr >> 16) for e in file.infolist()], [("bootstrap", 0o100755)])
                equal(file.read(entry), (built / name).read_bytes())
    with sentences.check("the command of the archive runs, and its completions are there"):
        equal(run(archive.root / "enroller", "--version").returncode, 0)
        equal(sorted(path.name for path in (archive.root / "completions").iterdir()), ["_enroller", "enroller", "enroller.fish"])
    with sentences.check("every package that is linked is in the bill of materials, with licence and checksum, and its text is there"):
        bill = json.loads((archive.root / "bill-of-materials.cdx.json").read_text())
        equal((bill["bomFormat"], bill["specVersion"], bill["metadata"]["timestamp"]), ("CycloneDX", "1.6", "2023-11-14T22:13:20Z"))
        components = {component["name"]: component for component in bill["components"]}
        assert {"aws-sdk-ec2", "rustls", "ring", "tokio", "enroller-core"} <= set(components), sorted(components)
        assert "serde_derive" not in components and "proptest" not in components, "only what is linked"
        others = [component for component in bill["components"] if not component["name"].startswith("enroller") and "purl" in component]
        none([component["name"] for component in others if not component.get("licenses") or not component.get("hashes")])
        references = {component["bom-ref"] for component in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
        equal(len(references), len(bill["components"]) + 1)
        none([edge for node in bill["dependencies"] for edge in [node["ref"], *node["dependsOn"]] if edge not in references])
        licences = (archive.root / "licences.txt").read_text()
        none([component["name"] for component in others if f"{component['name']} {component['version']}" not in licences])
        assert "Permission is hereby granted" in licences and "Apache License" in licences


def what_is_refused(sentences: Sentences, built: Path, folder: Path) -> None:
    with sentences.check("a binary that needs a newer glibc than Lambda has is refused"):
        planted = folder / "planted"
        shutil.copytree(built, planted)
        content = (planted / "backfill").read_bytes()
        newest = ".".join(map(str, max(binaries.glibc_versions(content))))
        wanted = f"\0GLIBC_{newest}\0".encode()
        assert wanted in content, newest
        (planted / "backfill").write_bytes(content.replace(wanted, b"\0GLIBC_9.99"[: len(wanted) - 1].ljust(len(wanted) - 1, b"9") + b"\0"))
        done = release(planted, folder / "refused")
        equal(done.returncode, 1)
        assert "backfill needs glibc 9.9" in done.stderr, done.stderr
    with sentences.check("a binary for another architecture is refused"):
        content = bytearray(content)
        content[18:20] = binaries.MACHINES[OTHER].to_bytes(2, "little")
        (planted / "backfill").write_bytes(content)
        done = release(planted, folder / "refused")
        assert done.returncode == 1 and f"is not a binary for {HERE}" in done.stderr, done.stderr


def deploying(sentences: Sentences, archive: Archive, folder: Path) -> None:
    zips = archive.root / "zips"

    def takes(done: subprocess.CompletedProcess) -> None:
        assert done.returncode == 0, done.stdout + done.stderr
        for name in NAMES[:3]:
            equal((archive.root / "dist" / f"{name}.zip").read_bytes(), (zips / f"{name}.zip").read_bytes())
        shutil.rmtree(archive.root / "dist")

    def refuses(done: subprocess.CompletedProcess, words: str) -> None:
        assert done.returncode == 1 and words in done.stderr, f"{words!r} is not in:\n{done.stdout}{done.stderr}"
        assert not (archive.root / "dist/backfill.zip").exists(), "nothing is taken"

    with sentences.check("in an unpacked archive, infra/deploy takes the zips beside it, without Rust"):
        takes(archive.deploy("build"))
    with sentences.check("ZIPS names a folder or an archive"):
        elsewhere = folder / "elsewhere"
        shutil.copytree(zips, elsewhere)
        takes(archive.deploy("build", zips=elsewhere))
        takes(archive.deploy("build", zips=archive.file))
    with sentences.check("a dry run says what would be taken, and takes nothing"):
        done = archive.deploy("--dry-run", "build", zips=elsewhere)
        assert done.returncode == 0 and f"take.py {elsewhere} {HERE}" in done.stdout, done.stdout + done.stderr
        assert not (archive.root / "dist").exists()
    with sentences.check("zips for another architecture are refused"):
        refuses(archive.deploy("build", architecture=OTHER), f"is for {HERE}, but Architecture is {OTHER}")
    with sentences.check("a zip that is not the one of SHA256SUMS, or is missing, is refused"):
        shutil.copyfile(elsewhere / "backfill.zip", elsewhere / "vpc-enroller.zip")
        refuses(archive.deploy("build", zips=elsewhere), "vpc-enroller.zip is not the file that SHA256SUMS lists")
        (elsewhere / "vpc-enroller.zip").unlink()
        refuses(archive.deploy("build", zips=elsewhere), "has no vpc-enroller.zip")
        refuses(archive.deploy("build", zips=folder / "nowhere"), "does not exist")


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    end_after(900)
    sentences = Sentences()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = folder / "built"
        built.mkdir()
        for binary in NAMES:
            # Without debug information, all of this takes seconds.
            subprocess.run(["strip", "-o", built / binary, Path(sys.argv[1]) / binary], check=True)
        with sentences.check("the same binaries give the same bytes, whatever umask and folder"):
            for output, umask in (("once", 0o022), ("twice", 0o077)):
                done = release(built, folder / output, umask)
                assert done.returncode == 0, done.stdout + done.stderr
            equal((folder / "once/SHA256SUMS").read_text(), (folder / "twice/SHA256SUMS").read_text())
        archive = Archive(folder / "once")
        what_it_has(sentences, archive, built)
        what_is_refused(sentences, built, folder)
        deploying(sentences, archive, folder)
    return sentences.end()


if __name__ == "__main__":
    sys.exit(main())
