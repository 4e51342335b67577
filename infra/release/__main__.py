"""Makes what ships: an archive for each architecture, from a clean checkout, with one command.

    python3 infra/release [--architecture x86_64|arm64]… [--output FOLDER] [--built FOLDER]

An archive has the operator's command, the zips of the three functions, infra/ with the templates and scripts, the licences
of what was linked, a bill of materials (CycloneDX) and checksums. The same commit gives the same bytes: the time is that of
the commit, or SOURCE_DATE_EPOCH, and no path of this machine is in a binary.

Needs Rust (rustup), a C compiler and Python 3.10. It fetches cargo-zigbuild from PyPI into .tools/, and the Rust target if
it is missing. Linking with zig, it asks for no newer glibc than that of Lambda's provided.al2023, and refuses a binary that
does. --built takes the four binaries from a folder instead of building them, for tests.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True

import archive
import binaries
import inventory

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ("vpc-enroller", "account-onboarder", "backfill")
COMMAND = "enroller"
ZIGBUILD = "cargo-zigbuild==0.24.0"
SHELLS = {"bash": "enroller", "zsh": "_enroller", "fish": "enroller.fish"}
DOCUMENTS = ("README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "RELIABILITY.md")


def run(*command: str, **variables: str) -> None:
    print("+", " ".join(command), flush=True)
    subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=True)


def output_of(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def commit_time() -> int:
    """The time that everything in an archive has."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given) if given else int(output_of("git", "log", "-1", "--format=%ct"))


def zigbuild() -> Path:
    """The folder with cargo-zigbuild and its zig: that on the path, or our own."""
    found = shutil.which("cargo-zigbuild")
    if found:
        return Path(found).parent
    tool = ROOT / ".tools" / "zigbuild"
    if not (tool / "bin/cargo-zigbuild").exists():
        run(sys.executable, "-m", "venv", str(tool))
        run(str(tool / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", ZIGBUILD)
    return tool / "bin"


def build(architecture: str, epoch: int) -> Path:
    """Builds for an architecture. The command is built apart from the functions: cargo unites the features of what it
    builds at once, and the functions would get what only people need.
    """
    tool = zigbuild()
    triple = binaries.TRIPLES[architecture]
    if triple not in output_of("rustup", "target", "list", "--installed").split():
        run("rustup", "target", "add", triple)
    cargo_home = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    renamed = [(str(target), "/target"), (str(ROOT), "/enroller"), (cargo_home, "/cargo")]
    flags = " ".join(f"--remap-path-prefix={here}={there}" for here, there in renamed)
    c_flags = " ".join(f"-ffile-prefix-map={here}={there}" for here, there in renamed)
    variables = {
        "PATH": f"{tool}{os.pathsep}{os.environ['PATH']}",
        "RUSTFLAGS": flags,
        "CFLAGS": c_flags,
        "SOURCE_DATE_EPOCH": str(epoch),
        "CARGO_INCREMENTAL": "0",
    }
    glibc = ".".join(map(str, binaries.GLIBC))
    options = ["--release", "--locked", "--target", f"{triple}.{glibc}"]
    run("cargo", "zigbuild", *options, *(word for name in FUNCTIONS for word in ("-p", name)), **variables)
    run("cargo", "zigbuild", *options, "-p", COMMAND, **variables)
    return target / triple / "release"


def completions(command: Path, staging: Path) -> None:
    for shell, name in SHELLS.items():
        path = staging / "completions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(subprocess.run([command, "completions", shell], stdout=subprocess.PIPE, check=True).stdout)


def stage(architecture: str, built: Path, runs_here: Path | None, staging: Path, epoch: int) -> None:
    """Lays out what the archive has."""
    for name in (*FUNCTIONS, COMMAND):
        binaries.check(built / name, architecture)
    shutil.copyfile(built / COMMAND, staging / COMMAND)
    (staging / COMMAND).chmod(0o755)
    (staging / "zips").mkdir()
    for name in FUNCTIONS:
        archive.lambda_zip(built / name, staging / "zips" / f"{name}.zip", epoch)
    archive.checksums(staging / "zips")
    for name in DOCUMENTS:
        shutil.copyfile(ROOT / name, staging / name)
    for folder in ("infra", "docs"):
        ignore = shutil.ignore_patterns("__pycache__", "installation.env", "release")
        shutil.copytree(ROOT / folder, staging / folder, ignore=ignore)
    (staging / "infra/release").mkdir()
    shutil.copyfile(ROOT / "infra/release/take.py", staging / "infra/release/take.py")
    if runs_here:
        completions(runs_here, staging)
    else:
        print(f"  {architecture}: no completions, because this machine cannot run the command", flush=True)
    packages = inventory.packages(ROOT, [*FUNCTIONS, COMMAND], binaries.TRIPLES[architecture])
    (staging / "licences.txt").write_text(inventory.licences(packages), encoding="utf-8")
    (staging / "bill-of-materials.cdx.json").write_text(inventory.bill_of_materials(packages, epoch), encoding="utf-8")
    archive.checksums(staging)


def main() -> int:
    parser = argparse.ArgumentParser(prog="infra/release", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--architecture", action="append", choices=sorted(binaries.TRIPLES), dest="architectures")
    parser.add_argument("--output", type=Path, default=ROOT / "dist/release")
    parser.add_argument("--built", type=Path)
    arguments = parser.parse_args()
    # That of this machine comes first: its command can print the completions for both.
    here = binaries.of_this_machine()
    wanted = sorted(set(arguments.architectures or binaries.TRIPLES), key=lambda name: name != here)
    epoch = commit_time()
    arguments.output.mkdir(parents=True, exist_ok=True)
    runs_here = None
    for architecture in wanted:
        built = arguments.built or build(architecture, epoch)
        if architecture == here:
            runs_here = built / COMMAND
        name = f"enroller-{inventory.version(ROOT)}-linux-{architecture}"
        staging = arguments.output / name
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        stage(architecture, built, runs_here, staging, epoch)
        archive.tar_gz(staging, arguments.output / f"{name}.tar.gz", epoch)
        shutil.rmtree(staging)
    archive.checksums(arguments.output)
    print((arguments.output / "SHA256SUMS").read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (binaries.Refused, inventory.Unknown) as error:
        print(f"infra/release: {error}", file=sys.stderr)
        sys.exit(1)
    except subprocess.CalledProcessError as error:
        print(f"infra/release: {' '.join(map(str, error.cmd))} ended with {error.returncode}", file=sys.stderr)
        sys.exit(1)
