"""How this machine reaches its package registries, for the build stage: CA bundle, pip's index, apt's settings.

Only what a container could use is taken: indexes by URL, not in this machine's directories.
"""

import os
import shutil
import subprocess
from pathlib import Path

CA_BUNDLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
CA_IN_BUILD = "/build/ca-certificates.crt"
APT_KEYS = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::http::Proxy", "Acquire::https::Proxy")


def write_settings(directory: Path) -> None:
    """Fill the directory that the Dockerfile copies into its build stage; unchanged files keep their time."""
    directory.mkdir(parents=True, exist_ok=True)
    bundle = _ca_bundle()
    if bundle:
        _write(directory / "ca-certificates.crt", bundle.read_text())
    _write(directory / "pip.conf", _pip_conf(bundle is not None))
    _write(directory / "apt.conf", _apt_conf())


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _ca_bundle() -> Path | None:
    named = [Path(os.environ[name]) for name in CA_BUNDLES if os.environ.get(name)]
    return next((path for path in [*named, SYSTEM_BUNDLE] if path.is_file()), None)


def _pip_conf(has_bundle: bool) -> str:
    lines = ["[global]", "disable-pip-version-check = true", "root-user-action = ignore"]
    lines += [f"cert = {CA_IN_BUILD}"] if has_bundle else []
    for key in ("index-url", "extra-index-url", "trusted-host"):
        if value := _pip_setting(key):
            lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n"


def _pip_setting(key: str) -> str:
    """What pip would use here, without the indexes that lie on this machine's disk."""
    value = os.environ.get("PIP_" + key.upper().replace("-", "_")) or _output("pip3", "config", "get", f"global.{key}")
    return " ".join(word for word in value.split() if not word.startswith(("file:", "/", ".")))


def _apt_conf() -> str:
    lines = _output("apt-config", "dump", *APT_KEYS).splitlines()
    return "".join(f"{line}\n" for line in lines if line.startswith(APT_KEYS) and not line.endswith(' "";'))


def _output(*argv: str) -> str:
    """Empty where the command is missing or has nothing to say."""
    if not shutil.which(argv[0]):
        return ""
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
