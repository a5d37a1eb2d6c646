"""A minimal Debian in a folder, for the Python that a machine has not: made once, then kept."""

import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cookiecutter-ml-ready"
PACKAGES = "ca-certificates,git,python3-venv"
# In a namespace of its own, so that no mount outlives the command, however it ends.
ENTER = """
root=$1 shared=$2
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root$shared"
mount --bind "$shared" "$root$shared"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
shift 2
exec chroot "$root" env --chdir="$PWD" "$@"
"""


class NoDebianError(Exception):
    """Why there can be no such folder on this machine."""


def root(suite: str) -> Path:
    """Return the folder of a Debian, which is made unless it is there."""
    kept = KEPT / suite
    if os.geteuid():
        raise NoDebianError("only root can make and enter a Debian in a folder")
    if not kept.exists():
        if not (debootstrap := shutil.which("debootstrap")):
            raise NoDebianError("debootstrap is not installed")
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as half:
            made = Path(half, suite)
            options = ["--variant=minbase", f"--include={PACKAGES}"]
            command = [debootstrap, *options, suite, str(made), mirror()]
            subprocess.run(["unshare", "--mount", *command], check=True)
            # Another run may have been faster.
            with contextlib.suppress(OSError):
                made.rename(kept)
    return kept


def mirror() -> str:
    """Return where this machine gets its Debian packages."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    try:
        found = subprocess.check_output([*asked, "Label: Debian"], text=True).split()
    except FileNotFoundError:
        found = []
    if not found:
        raise NoDebianError("apt knows no mirror of Debian")
    return found[0]


def enter(root: Path, shared: Path) -> tuple[str, ...]:
    """Return what a command that runs in there begins with; it shares one folder with us."""
    return ("unshare", "--mount", "sh", "-e", "-c", ENTER, "sh", str(root), str(shared))


def environment(user: dict[str, str], shared: Path) -> dict[str, str]:
    """Return the environment of a user who is in there, with the package index of this machine."""
    kept = re.compile("HOME|TMPDIR|DVC_.*|GIT_.*|.*_proxy", re.IGNORECASE)
    found = {name: text for name, text in user.items() if kept.fullmatch(name)}
    found |= {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
    }
    listed = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    settings = {}
    for section in ("global", "install", ":env:"):
        for name, value in re.findall(rf"^{section}\.(index-url|cert)=(.+)$", listed, re.MULTILINE):
            settings[name] = ast.literal_eval(value)
    if index := settings.get("index-url"):
        found["PIP_INDEX_URL"] = index
    if bundle := settings.get("cert") or user.get("SSL_CERT_FILE"):
        found["PIP_CERT"] = shutil.copy(bundle, str(shared / "certificates.pem"))
    return found


if __name__ == "__main__":
    root(sys.argv[1])
