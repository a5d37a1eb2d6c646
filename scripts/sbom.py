"""Write the SBOM of the library in CycloneDX: what its extras install, as a project locks it.

`cyclonedx-py` reads a Poetry project. This one has the first lock of the template, and a group of
dependencies for each extra of the library.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write it into the file that the command line names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = ["[tool.poetry]"]
    lines += [f"{key} = {json.dumps(project[key])}" for key in ("name", "version", "license")]
    for extra, requirements in project["optional-dependencies"].items():
        lines.append(f"[tool.poetry.group.{extra}.dependencies]")
        for name, extras in re.findall(r"^([\w.-]+)(.*?)[<=>]", "\n".join(requirements), re.M):
            brought = re.findall(r"\w+", extras)
            lines.append(f"{name} = {{version = '*', extras = {brought}}}")
    lock = min(ROOT.glob("{{cookiecutter.project_slug}}/*poetry.lock*"))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text("\n".join(lines), encoding="utf-8")
        shutil.copy(lock, Path(folder, "poetry.lock"))
        # To validate takes minutes: each of thousands of addresses is parsed as an IRI.
        options = ["--mc-type", "library", "--no-validate", "--output-file", sys.argv[1]]
        command = [sys.executable, "-m", "cyclonedx_py", "poetry", *options, folder]
        sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
