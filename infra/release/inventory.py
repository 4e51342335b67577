"""What is linked into the binaries: packages, their licences, and a bill of materials."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import uuid
from pathlib import Path

LICENCE_FILES = ("license", "licence", "copying", "notice", "unlicense")


class Unknown(Exception):
    """A package whose licence cannot be told."""


def version(root: Path) -> str:
    """The version of the workspace, which is that of every crate in it."""
    manifest = (root / "Cargo.toml").read_text(encoding="utf-8")
    return re.search(r'^\[workspace\.package\]\nversion = "([^"]+)"', manifest, re.MULTILINE)[1]


def packages(root: Path, binaries: list[str], triple: str) -> list[dict]:
    """The packages of the binaries for a target, ours included, with what each depends on. Of build scripts and macros,
    nothing is linked.
    """
    # `cargo metadata` unites the features of the workspace, and `cargo tree` takes those of these packages.
    tree = ["cargo", "tree", "--locked", "--target", triple, "--edges", "normal,no-proc-macro", "--prefix", "none"]
    tree += ["--format", "{p}", *(word for binary in binaries for word in ("--package", binary))]
    lines = subprocess.run(tree, cwd=root, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    linked = {(line.split()[0], line.split()[1].removeprefix("v")) for line in lines if line.strip()}
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", triple]
    metadata = json.loads(subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True).stdout)
    found = [package for package in metadata["packages"] if (package["name"], package["version"]) in linked]
    ids = {package["id"] for package in found}
    depends = {node["id"]: sorted(set(node["dependencies"]) & ids) for node in metadata["resolve"]["nodes"]}
    checksums = _checksums(root / "Cargo.lock")
    for package in found:
        package["depends_on"] = depends[package["id"]]
        package["sha256"] = checksums.get((package["name"], package["version"]))
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def _checksums(lock: Path) -> dict[tuple[str, str], str]:
    found, name, number = {}, "", ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(" = ")
        value = value.strip('"')
        if key == "name":
            name = value
        elif key == "version":
            number = value
        elif key == "checksum":
            found[name, number] = value
    return found


def is_ours(package: dict) -> bool:
    return package["source"] is None


def licences(packages: list[dict]) -> str:
    """Every package with its licence, and every text once."""
    texts: dict[str, list[str]] = {}
    table = []
    for package in packages:
        if is_ours(package):
            continue
        name = f"{package['name']} {package['version']}"
        if not package["license"] and not package["license_file"]:
            raise Unknown(f"{name} states no licence")
        table.append(f"{name}: {package['license'] or package['license_file']}")
        folder = Path(package["manifest_path"]).parent
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.name.lower().startswith(LICENCE_FILES):
                texts.setdefault(path.read_text(encoding="utf-8", errors="replace").strip(), []).append(name)
    parts = ["These packages are linked into the binaries. Their texts follow.\n", "\n".join(table)]
    for text, names in texts.items():
        parts.append(f"{'=' * 80}\n{', '.join(names)}\n{'=' * 80}\n\n{text}")
    return "\n\n".join(parts) + "\n"


def bill_of_materials(packages: list[dict], epoch: int) -> str:
    """CycloneDX 1.6, with a serial number and a time that follow from the content."""
    references = {package["id"]: f"pkg:cargo/{package['name']}@{package['version']}" for package in packages}
    ours = next(package for package in packages if package["name"] == "enroller")
    depends = [
        {"ref": references[package["id"]], "dependsOn": sorted(references[other] for other in package["depends_on"])}
        for package in packages
    ]
    components = [_component(package) for package in packages if package is not ours]
    when = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([components, depends]))}",
        "version": 1,
        "metadata": {"timestamp": when, "component": {**_component(ours), "type": "application"}},
        "components": components,
        "dependencies": depends,
    }
    return json.dumps(document, indent=1) + "\n"


def _component(package: dict) -> dict:
    reference = f"pkg:cargo/{package['name']}@{package['version']}"
    component = {"type": "library", "bom-ref": reference, "name": package["name"], "version": package["version"]}
    if package["description"]:
        component["description"] = " ".join(package["description"].split())
    if package["sha256"]:
        component["hashes"] = [{"alg": "SHA-256", "content": package["sha256"]}]
    if package["license"]:
        # Cargo once took a slash for OR.
        component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if not is_ours(package):
        component["purl"] = reference
    if package["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return component
