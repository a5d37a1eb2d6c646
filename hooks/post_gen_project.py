"""Give the new project its first commit and say what to type next."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

answers = json.loads({{cookiecutter | jsonify | jsonify}})  # type: ignore  # noqa: F821
project = Path.cwd()


def make_first_commit() -> str:
    """Commit the bake as the author of the answers, out of reach of the user's git settings.

    Returns
    -------
    str
        Why there is no commit, or nothing.
    """
    isolated = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    isolated |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    settings = {
        "user.name": answers["author_name"],
        "user.email": answers["author_email"],
        "init.defaultBranch": "main",
        # git reads these two files of the user without being told to.
        "core.attributesFile": "",
        "core.excludesFile": "",
        # A folder that a container mounts can belong to another user.
        "safe.directory": "*",
    }
    git = ["git", *(part for item in settings.items() for part in ("-c", "=".join(item)))]
    message = "feat: start from the ml-ready template"
    for arguments in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", message],
    ):
        done = subprocess.run([*git, *arguments], env=isolated, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            return f"`git {arguments[0]}` said: {said[-1]}"
    return ""


def next_commands() -> str:
    """Name the folder as it is seen from where the user stands, and the two commands to type."""
    folder = str(project)
    if stand := os.environ.get("PWD"):
        folder = min(folder, os.path.relpath(project, stand), key=len)
    if os.name == "nt":
        return f'cd "{folder}" && python bootstrap.py\n.venv\\Scripts\\poe pipeline'
    return f"cd {shlex.quote(folder)} && python3 bootstrap.py\n.venv/bin/poe pipeline"


# cookiecutter leaves the rendered hook in the temporary folder.
Path(__file__).unlink(missing_ok=True)

# cruft renders to compare, and its users commit themselves.
if "_commit" not in answers:
    if not any((folder / ".git").exists() for folder in (project, *project.parents)):
        failure = make_first_commit() if shutil.which("git") else "git is not on the PATH"
        if failure:
            print(f"No first commit: {failure}. Then type: git init && git add . && git commit")
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    print(next_commands())
