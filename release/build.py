"""The files of a release under build/release, for one architecture: `make release ARCH=arm64`.

Two builds of one commit are the same to the last byte as long as Debian's packages are the same. `--check` builds
twice, without a cache, and compares.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from release import archive, sbom
from release.emulation import able_to_run, native
from tests.lab.base import ensure_base
from tests.lab.build import BUILD, ROOT, build_engine, build_image, export
from tests.lab.command import CommandFailed, run
from tests.lab.engine import Docker, EngineFailed

RELEASE = BUILD / "release"
ARCHITECTURES = ("amd64", "arm64")
NOTICES = ROOT / "release" / "notices.sh"
DOCUMENTATION = Path("usr/share/doc/net-dhcp")  # in the root file system, so that a registry's copy has it as well
COMMAND = Path("usr/share/net-dhcp/docker-dhcp")  # in the root file system
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-cli.lock")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME, VERSION = PYPROJECT["name"], PYPROJECT["version"]


def commit_time() -> int:
    """When this commit was made: the one time that a build knows."""
    return int(run("git", "-C", ROOT, "log", "-1", "--format=%ct"))


def build(architecture: str, *, cached: bool) -> Path:
    """Make the archive; the list of its contents and the command are beside it. Returns the archive."""
    tree = RELEASE / architecture
    image = f"net-dhcp-release-{architecture}"
    foreign = None if architecture == native() else architecture
    again = () if cached else ("--no-cache",)
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    with able_to_run(architecture, BUILD), build_engine() as docker:
        base = ensure_base(docker, BUILD, foreign)
        build_image(docker, ROOT, f"{image}-build", base, "--target=build", *again)
        build_image(docker, ROOT, image, base)  # the same layers, out of the cache
        export(docker, ROOT, tree / "plugin", image)
        rootfs = tree / "plugin" / "rootfs"
        notices = rootfs / DOCUMENTATION
        _unpack_notices(docker, f"{image}-build", notices)
    site = next((rootfs / "usr/local/lib").glob("python3*/dist-packages"))
    _copy_licenses(site, notices / "licenses" / "python")
    shutil.copyfile(ROOT / "LICENSE", notices / "licenses" / "docker-net-dhcp")
    components = [
        *sbom.debian((notices / "packages.tsv").read_text()),
        *sbom.wheels(_metadata(site, rootfs / COMMAND), (lock.read_text() for lock in LOCKS)),
    ]
    listed = json.dumps(sbom.document(NAME, VERSION, architecture, components, commit_time()), indent=1) + "\n"
    stem = f"net-dhcp-{VERSION}-linux-{architecture}"
    (notices / "sbom.json").write_text(listed)
    (RELEASE / f"{stem}.cdx.json").write_text(listed)
    shutil.copy(rootfs / COMMAND, RELEASE / COMMAND.name)
    target = RELEASE / f"{stem}.tar.gz"
    archive.write(target, {stem: tree}, commit_time())
    return target


def _unpack_notices(docker: Docker, image: str, target: Path) -> None:
    """packages.tsv and the copyright files of Debian's packages."""
    print("==> the licences of Debian's packages", flush=True)
    argv = docker.argv("run", "--rm", "--interactive", "--network=host", image, "sh", "-s")
    done = subprocess.run(argv, input=NOTICES.read_bytes(), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise CommandFailed(f"{NOTICES.name}: exit status {done.returncode}")
    target.mkdir(parents=True)
    run("tar", "-x", "-C", target, stdin=done.stdout)


def _metadata(site: Path, command: Path) -> list[str]:
    """Of the plugin's wheels, and of those in the command, which is a zip file that has their licences, too."""
    with zipfile.ZipFile(command) as archived:
        names = [name for name in archived.namelist() if name.endswith(".dist-info/METADATA")]
        inside = [archived.read(name).decode() for name in names]
    return [*(file.read_text() for file in site.glob("*.dist-info/METADATA")), *inside]


def _copy_licenses(site: Path, target: Path) -> None:
    """The licence files of the wheels; each has one, or its metadata name the licence."""
    for information in sorted(site.glob("*.dist-info")):
        files = [file for file in information.rglob("*") if file.is_file() and _is_license(file, information)]
        place = target / information.name.removesuffix(".dist-info")
        place.mkdir(parents=True)
        for file in files or [information / "METADATA"]:
            shutil.copyfile(file, place / file.name)


def _is_license(file: Path, information: Path) -> bool:
    name = file.name.upper()
    return "licenses" in file.relative_to(information).parts or name.startswith(("LICEN", "COPYING", "NOTICE"))


def digest(file: Path) -> str:
    """SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_sums() -> None:
    """SHA256SUMS over all that is for download."""
    files = sorted(file for file in RELEASE.iterdir() if file.is_file() and file.name != "SHA256SUMS")
    (RELEASE / "SHA256SUMS").write_text("".join(f"{digest(file)}  {file.name}\n" for file in files))


def check(architecture: str) -> None:
    """Build twice from nothing; raises CommandFailed if anything is different."""
    first = build(architecture, cached=False)
    kept = first.with_suffix(".first")
    first.rename(kept)
    second = build(architecture, cached=False)
    same = digest(kept) == digest(second)
    if not same:
        raise CommandFailed(f"two builds differ: {kept} and {second}")
    kept.unlink()


def main() -> int:
    """Exit status 1 and the reason on standard error where a command failed."""
    parser = argparse.ArgumentParser(prog="release.build", description=__doc__)
    parser.add_argument("architecture", choices=ARCHITECTURES, nargs="?", default=native())
    parser.add_argument("--check", action="store_true", help="build twice without a cache, and compare")
    arguments = parser.parse_args()
    try:
        if arguments.check:
            check(arguments.architecture)
        else:
            build(arguments.architecture, cached=True)
        write_sums()
    except (CommandFailed, EngineFailed, OSError, sbom.NotLocked) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print((RELEASE / "SHA256SUMS").read_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
