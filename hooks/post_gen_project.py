"""Make the project a repository, or part of the one around it; say what to type next."""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# Ctrl-C reaches cookiecutter too, which says the one word that is needed.
signal.signal(signal.SIGINT, signal.SIG_DFL)

answers = json.loads({{cookiecutter | jsonify | jsonify}})  # type: ignore  # noqa: F821
template = json.loads({{template_folder | jsonify | jsonify}})  # type: ignore  # noqa: F821
project = Path.cwd()
unfinished = "UNFINISHED-BAKE-AGAIN"
# A folder has no condition in its name: without the workflow this one is empty.
for folder in (".github/workflows", ".github"):
    with suppress(OSError):
        Path(folder).rmdir()


def add_library() -> None:
    """Pack the library from its source into `vendor/`, and write its hash into the lock."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(Path(template, "scripts")))
    from packer import pack  # type: ignore[import-not-found]

    wheel = pack(project / "vendor", Path(template))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = project / "poetry.lock"
    locked, count = re.subn(
        rb'(?<=%b", hash = "sha256:)[0-9a-f]{64}' % re.escape(wheel.name.encode()),
        digest.encode(),
        lock.read_bytes(),
    )
    if count != 1:
        sys.exit(f"poetry.lock names {wheel.name} {count} times, expected once: type `make lock`")
    lock.write_bytes(locked)


def make_first_commit() -> str:
    """Commit the bake as the author of the answers, out of reach of the user's git settings.

    Returns
    -------
    str
        Why there is no commit, or nothing.
    """
    isolated = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    isolated |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
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
        ["add", "--all", ".", f":!{unfinished}"],
        ["commit", "--quiet", "--message", message],
    ):
        done = subprocess.run([*git, *arguments], env=isolated, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            return f"`git {arguments[0]}` said: {lines[-1]}"
    return ""


def default_branch(top: Path) -> str:
    """Name the branch that the changes of a repository go to, as far as this clone knows."""
    isolated = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    for question in (
        "symbolic-ref refs/remotes/origin/HEAD",
        "show-ref --verify refs/heads/main",
        "symbolic-ref HEAD",
    ):
        git = ["git", "-C", str(top), *question.split()]
        with suppress(OSError):
            done = subprocess.run(git, env=isolated, capture_output=True, text=True)
            if not done.returncode:
                return re.sub(r"^.*refs/(heads|remotes/origin)/", "", done.stdout.strip())
    return "main"


def fit_into(top: Path) -> str:
    """Rewrite what counts from the top of a repository, for a project in a folder of it.

    Parameters
    ----------
    top : pathlib.Path
        The repository.

    Returns
    -------
    str
        The command that puts in place what is read at the top only, or why nothing was rewritten.
    """
    folder = project.relative_to(top).as_posix()
    if not re.fullmatch(r"[\w./-]+", folder):
        return (
            f"CI, CODEOWNERS, git hooks and storage are not made for {folder!r}: bake again where"
            " the names of the folders have letters, digits, '.', '_' and '-' only"
        )
    up = "../" * (folder.count("/") + 1)
    # Unlike any name that the repository has for its own, or for a project in another folder.
    job = f"model-{folder.replace('/', '-')}"
    workflow = f".github/workflows/{job}.yml"
    only = rf"\g<0>\n    paths: [{folder}/**, {workflow}]"
    # What CI runs, it runs in the folder.
    named = (
        r"(?<!python3 )(?<![\w./-])(\.poetry|\.venv|bootstrap\.py|poetry\.lock|reports)(?![\w/])"
    )
    rewritten = {
        ".github/workflows/ci.yml": {
            "every change": rf"\g<0> of {folder}. GitHub reads the copy in {workflow}",
            "^name: CI": rf"\g<0> of {folder}",
            "^    branches: .*|^  pull_request:": only,
            r"(?<=branches: )\[main\]": json.dumps([default_branch(top)]),
            "^jobs:": rf"defaults:\n  run:\n    working-directory: {folder}\n\n\g<0>",
            named: rf"{folder}/\g<0>",
        },
        ".gitlab-ci.yml": {
            "Runs each": f"Child pipeline of {folder}: runs each",
            "^  before_script:": rf"\g<0>\n    - cd {folder}",
            named: rf"{folder}/\g<0>",
        },
        ".pre-commit-config.yaml": {
            "^repos:": rf"files: ^{folder.replace('.', '[.]')}/\n\g<0>",
            r"\$PWD/": rf"\g<0>{folder}/",
            r"\[poe, ": rf"\g<0>-C, {folder}, ",
        },
        "CODEOWNERS": {
            "docs/": rf"{folder}/\g<0>",
            r"^\*": "/",
            "^/": rf"\g<0>{folder}/",
            r"^.*/\.github/ .*": rf"\g<0>\n/{workflow} {answers['deployment_team']}",
        },
        "README.md": {
            "`, and the git hooks\\.": "`; the repository around it decides about git hooks.",
            "^Before a commit, the hooks": "If the repository runs them, the git hooks",
            "; before a push they run the": " before a commit, and before a push run the",
        },
        "docs/responsibilities.md": {
            "share this repository": "share this folder",
            "before each push": r"\g<0> if the repository runs the git hooks",
        },
        ".dvc/config": {r"url = (?=\.\./)": rf"\g<0>{up}"},
    }
    for name, edits in rewritten.items():
        if (file := project / name).is_file():
            text = file.read_text("utf-8")
            for pattern, new in edits.items():
                text = re.sub(pattern, new, text, flags=re.MULTILINE)
            file.write_text(text, "utf-8", newline="\n")
    return commands_for(top, folder, job)


def commands_for(top: Path, folder: str, job: str) -> str:
    """Give the command that puts in place what is read only at the top of a repository."""
    up = "../" * (folder.count("/") + 1)
    # In the order in which each host looks for them.
    places = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"]
    if answers["ci"] == "gitlab-ci":
        del places[0]
    owners = next((place for place in places if (top / place).is_file()), "CODEOWNERS")
    commands = [f"(echo; cat CODEOWNERS) >>{up}{owners}"]
    if (project / ".github").exists():
        commands.append(f"mkdir -p {up}.github/workflows")
        commands.append(f"cp .github/workflows/ci.yml {up}.github/workflows/{job}.yml")
    if (project / ".gitlab-ci.yml").exists():
        child = {
            "trigger": {"include": f"{folder}/.gitlab-ci.yml", "strategy": "depend"},
            # As the pipeline's own rules: a child without a job would be a failure.
            "rules": [
                {"if": condition, "changes": [f"{folder}/**/*"]}
                for condition in (
                    "$CI_MERGE_REQUEST_ID",
                    "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH",
                )
            ],
        }
        line = f"{job}: {json.dumps(child)}"
        commands.append(f"(echo; echo '{line}') >>{up}.gitlab-ci.yml")
    return " && ".join(commands)


def next_commands() -> str:
    """Name the folder as it is seen from where the user stands, and the two commands to type."""
    folder = str(project)
    if stand := os.environ.get("PWD"):
        folder = min(folder, os.path.relpath(project, stand), key=len)
    if os.name == "nt":
        return f'cd "{folder}" && python bootstrap.py\n.venv\\Scripts\\poe pipeline'
    return f"cd {shlex.quote(folder)} && python3 bootstrap.py\n.venv/bin/poe pipeline"


try:
    add_library()
except OSError as error:
    sys.exit(f"Error: {error.filename or project}: {error.strerror}. Fix that and bake again")
# cookiecutter leaves the rendered hook in the temporary folder.
Path(__file__).unlink(missing_ok=True)

repository = next((at for at in (project, *project.parents) if (at / ".git").exists()), None)
lines = []
if repository not in (None, project):
    lines = [fit_into(repository)]
# cruft renders to compare, and its users commit themselves.
elif "_commit" not in answers and not repository:
    failure = make_first_commit() if shutil.which("git") else "git is not on the PATH"
    full = re.search("No space left on device|Out of diskspace|Disk quota exceeded", failure)
    if full or (failure and shutil.disk_usage(project).free < 2**20):
        sys.exit(f"Error: no first commit: {failure}. Free some space and bake again")
    if failure:
        print(f"No first commit: {failure}. Then type: git init && git add . && git commit")
if "_commit" not in answers or lines:
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    print(next_commands(), *lines, sep="\n")

# Last of all: only now is the project whole.
Path(unfinished).unlink(missing_ok=True)
