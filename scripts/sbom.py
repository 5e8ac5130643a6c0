#!/usr/bin/env python3
"""Prints the SBOM of an image of dyngate (CycloneDX 1.5): the crates that are linked in, and the Debian packages beside them.

Usage: scripts/sbom.py IMAGE, in the source tree that the image was built from.
"""

import io
import json
import subprocess
import sys
import tarfile


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def crates():
    """Normal dependencies, as this platform links them; build scripts and tests are not in the binary."""
    lines = output("cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}")
    for line in sorted(set(lines.decode().splitlines())):
        package, _, licence = line.replace(" (*)", "").partition("|")
        name, version = package.split()[:2]
        version = version.removeprefix("v")
        yield component(name, version, f"pkg:cargo/{name}@{version}", licence.replace("/", " OR "))


def packages(image):
    """The fields of each package, which the Dockerfile leaves where scanners look for them."""
    container = output("docker", "create", image).decode().strip()
    try:
        archive = output("docker", "cp", f"{container}:/var/lib/dpkg/status.d", "-")
    finally:
        output("docker", "rm", container)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for file in files:
            if file.isfile():
                text = files.extractfile(file).read().decode()
                fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and line[0] != " ")
                name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
                yield component(name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}&distro=trixie", None)


def component(name, version, purl, licence):
    made = {"type": "library", "name": name, "version": version, "bom-ref": purl, "purl": purl}
    return made | ({"licenses": [{"expression": licence}]} if licence else {})


def main():
    (image,) = sys.argv[1:]
    listed = list(crates())
    (ours,) = [one for one in listed if one["name"] == "dyngate"]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": ours | {"type": "application"}},
        "components": [one for one in listed if one is not ours] + sorted(packages(image), key=lambda one: one["name"]),
    }
    json.dump(document, sys.stdout, indent=1)
    print()


main()
