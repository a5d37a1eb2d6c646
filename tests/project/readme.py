"""Runs the commands of a README as its reader would: verbatim, in order, in one bash."""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import filelock
import httpx
from markdown_it import MarkdownIt


class ReadmeError(Exception):
    """A command of the README does not do what a reader expects: where it stands, what it said."""


class Step(NamedTuple):
    """A block of commands, or code within a text, which may be a command."""

    text: str
    line: int
    section: int
    block: bool


class Ran(NamedTuple):
    """A step that has run: what it printed, and how long it took."""

    step: Step
    output: str
    seconds: float


def steps(markdown: str) -> list[Step]:
    """List what may be a command: `sh` blocks and inline code, in the order of the text."""
    found = []
    section = 0
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "heading_open":
            section += 1
        elif token.type == "fence" and token.info == "sh":
            found.append(Step(token.content, line, section, block=True))
        codes = [child.content for child in token.children or () if child.type == "code_inline"]
        found += [Step(code, line, section, block=False) for code in codes]
    return found


class Shell:
    """One bash in a folder: what a command changes in it, the next command finds.

    Parameters
    ----------
    folder : pathlib.Path
        Where it starts.
    environment : mapping
        All that its commands see of the outside.
    record : pathlib.Path
        An existing folder for the commands as files, and for what each prints.
    within : tuple of str
        What its command line begins with.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        record: Path,
        within: tuple[str, ...] = (),
    ) -> None:
        self._record, self._number = record, 0
        self._bash = subprocess.Popen(
            [*within, "bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        # In a block of several commands each has to succeed.
        self._ask("set -e; echo", 10)

    def run(self, command: str, seconds: float = 1200) -> str:
        """Run a command and return what it printed.

        Raises
        ------
        ReadmeError
            When it fails, or takes longer than `seconds`.
        """
        script, output = self._files(command)
        try:
            self._ask(f". {script} >{output} 2>&1 </dev/null; echo", seconds)
        except ReadmeError as error:
            raise ReadmeError(f"{command.strip()}\n{output.read_text()}{error}") from None
        return output.read_text()

    def knows(self, code: str) -> bool:
        """Whether the first word is a command here, or must be one: words, but no expression."""
        first = (code.split() or [""])[0]
        if re.fullmatch(r"[a-z][a-z0-9.-]* .+", code):
            return True
        return bool(self._ask(f"type -t -- '{first}' || echo", 10)) if "'" not in first else False

    def start(self, command: str, address: str, seconds: float = 300) -> "Running":
        """Run a command that does not end, and wait until it answers at an address."""
        if answers(address):
            raise ReadmeError(f"{command.strip()}: something else answers at {address}: stop it")
        script, output = self._files(command)
        # -m: as in a terminal, it gets a process group of its own, which Ctrl-C reaches.
        job = f"set -m; bash -e {script} >{output} 2>&1 </dev/null & set +m; echo $!"
        group = int(self._ask(job, 10))
        running = Running(self, group, output)
        deadline = time.monotonic() + seconds
        while not answers(address):
            if time.monotonic() > deadline or not running.processes():
                running.kill()
                raise ReadmeError(f"{command.strip()}\n{output.read_text()}no answer at {address}")
            time.sleep(0.1)
        return running

    def wait(self, group: int, seconds: float) -> int:
        """Wait for a command that was started, and return its exit status."""
        return int(self._ask(f"wait {group} && echo 0 || echo $?", seconds))

    def close(self) -> None:
        """End the shell, and a command that it still runs."""
        if self._bash.poll() is None:
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()

    def _files(self, command: str) -> tuple[Path, Path]:
        self._number += 1
        script = self._record / f"{self._number:02}.sh"
        script.write_text(command)
        return script, script.with_suffix(".txt")

    def _ask(self, line: str, seconds: float) -> str:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{line}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            if not select.select([self._bash.stdout], [], [], seconds)[0]:
                raise ReadmeError(f"not finished after {seconds} s")
            more = self._bash.stdout.read(1024)
            if not more:
                raise ReadmeError(f"exit status {self._bash.wait(10)}")
            answer += more
        return answer.decode().strip()


class Running(NamedTuple):
    """A command that was started: a process group, and the file with what it printed."""

    shell: Shell
    group: int
    output: Path

    def processes(self) -> bool:
        """Whether a process of it is alive."""
        try:
            os.killpg(self.group, 0)
        except ProcessLookupError:
            return False
        return True

    def stop(self) -> str:
        """Press Ctrl-C, and return what it printed.

        Raises
        ------
        ReadmeError
            When it does not end as one that was asked to, or leaves a process behind.
        """
        os.killpg(self.group, signal.SIGINT)
        status = self.shell.wait(self.group, 30)
        # What it has started itself may take a moment longer, on a busy machine.
        deadline = time.monotonic() + 10
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        output = self.output.read_text()
        left = self.processes()
        self.kill()
        # MLflow's own interface ends with one; a traceback through the project's code is a fault.
        failed = "Traceback" in output and re.search(r'File ".*/src/', output)
        if left or status not in (0, 130) or failed:
            reason = "left a process behind" if left else f"exit status {status} after Ctrl-C"
            raise ReadmeError(f"{output}{reason}")
        return output

    def kill(self) -> None:
        """End what is left of it."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.group, sent)
            deadline = time.monotonic() + 10
            while self.processes() and time.monotonic() < deadline:
                time.sleep(0.05)


def answers(address: str) -> bool:
    """Whether a server answers there."""
    try:
        httpx.get(address, timeout=5)
    except httpx.TransportError:
        return False
    return True


def run(
    markdown: str,
    shell: Shell,
    servers: Mapping[str, str],
    filled_in: Mapping[str, str],
    elsewhere: Mapping[str, str],
    turn: filelock.BaseFileLock,
) -> Iterator[Ran]:
    """Run each command of a README once.

    Parameters
    ----------
    markdown : str
        The text of the README.
    shell : Shell
    servers : mapping
        Commands that do not end, and the address at which they answer. They run until their
        section ends.
    filled_in : mapping
        Commands with a place to fill in, and what a reader might write.
    elsewhere : mapping
        Commands that are not run, and why.
    turn : filelock.BaseFileLock
        Held while a server runs: other READMEs name the same port.

    Raises
    ------
    ReadmeError
        When a command fails, or one that the mappings name is not in the README.
    """
    running: list[tuple[int, Running]] = []
    done: set[str] = set()
    try:
        for step in steps(markdown):
            text = step.text.strip()
            while running and running[0][0] != step.section:
                running.pop(0)[1].stop()
                turn.release()
            if text in done or not (step.block or shell.knows(text)):
                continue
            done.add(text)
            began = time.monotonic()
            output = ""
            try:
                if text in servers:
                    turn.acquire()
                    running.append((step.section, shell.start(step.text, servers[text])))
                elif text not in elsewhere:
                    output = shell.run(filled_in.get(text, step.text))
            except ReadmeError as error:
                raise ReadmeError(f"line {step.line} of the README: {error}") from None
            yield Ran(step, output, time.monotonic() - began)
        while running:
            running.pop(0)[1].stop()
            turn.release()
    finally:
        for _, left in running:
            left.kill()
        turn.release(force=True)
        shell.close()
    if stale := {*servers, *filled_in, *elsewhere} - done:
        raise ReadmeError(f"not in the README any more: {', '.join(sorted(stale))}")
