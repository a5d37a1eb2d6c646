"""Run the proofs whose code has changed since they passed last, and write tests/proofs.md."""

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

from tests.proofs import HEAD, PAGE, PROOFS, TEMPLATE, recorded, stale


def main() -> None:
    """Run proofs in one run of pytest; the row of one that fails stays as it was."""
    parser = argparse.ArgumentParser("make proofs", description=__doc__)
    parser.add_argument("--all", action="store_true", help="run also those that are up to date")
    names = list(PROOFS) if parser.parse_args().all else list(stale(TEMPLATE))
    if not names:
        print(f"{PAGE}: every proof is up to date")
        return
    digests = {name: PROOFS[name].digest(TEMPLATE) for name in names}
    print(f"Proofs: {', '.join(names)}", flush=True)
    results = run(names)
    rows = recorded(TEMPLATE)
    failed = []
    for name in names:
        tests = {test: result for test, result in results.items() if PROOFS[name].covers(test)}
        if not tests or None in tests.values():
            failed.append(name)
            continue
        minutes = sum(seconds or 0 for seconds in tests.values()) / 60
        cells = [PROOFS[name].shows, date.today().isoformat(), len(tests), f"{minutes:.1f}"]
        rows[f"`{name}`"] = f"| `{name}` | {' | '.join(map(str, cells))} | `{digests[name]}` |"
    lines = [rows[f"`{name}`"] for name in PROOFS if f"`{name}`" in rows]
    (TEMPLATE / PAGE).write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    if failed:
        sys.exit(f"error: proofs failed: {', '.join(failed)}; see above, and run `make proofs`")


def run(names: list[str]) -> dict[str, float | None]:
    """Run the tests of proofs; return the seconds of each that passed, None for the others."""
    tests = [test for name in names for test in PROOFS[name].tests]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        # As in CI, a skip fails, and no setting of the user leaves tests out.
        environment = {**os.environ, "CI": "true", "PYTEST_ADDOPTS": ""}
        command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *tests]
        passed, failed = 0, 1
        status = subprocess.run(command, cwd=TEMPLATE, env=environment, check=False).returncode
        if status not in (passed, failed) or not report.is_file():
            sys.exit("error: pytest ended early: see above, and run `make proofs` again")
        results: dict[str, float | None] = {}
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
            test = f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name']}"
            results[test] = None if len(case.findall("*")) else float(case.attrib["time"])
    return results


if __name__ == "__main__":
    main()
