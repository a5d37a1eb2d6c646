"""Measure ml-ready and its peers, each in turn on this machine, and show a table.

A run of all parts writes the table to docs/benchmarks.md as well.
"""

import argparse
import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import FrameType

from extras import EXTRAS, extras
from lifecycle import (
    BAKE,
    BAKE_IN_PROCESS,
    GOLDEN_PATH,
    HOOKS,
    TESTS,
    bake,
    bake_in_process,
    golden_path,
    hooks,
    tests,
)
from measure import TEMPLATE, Bench, Contender, Quantity, in_turn
from preprocessing import PREPROCESSING, preprocessing
from process import PROCESS, process
from serving import SERVING, serving

PAGE = TEMPLATE / "docs" / "benchmarks.md"
HEADER = (
    "| what | ml-ready | target | peer | its figure | ml-ready is better |\n" + "|---" * 6 + "|"
)


@dataclass(frozen=True)
class Part:
    """Figures that are measured together: ml-ready is the first contender.

    Parameters
    ----------
    quantities : list of Quantity
    contenders : function of a Bench
        Its description says how they are measured.
    share : int
        Multiplies the rounds, for what takes little time.
    """

    quantities: list[Quantity]
    contenders: Callable[[Bench], dict[str, Contender]]
    share: int = 1


PARTS = {
    "bake": Part(BAKE, bake, 3),
    "bake-in-process": Part(BAKE_IN_PROCESS, bake_in_process, 3),
    "golden-path": Part(GOLDEN_PATH, golden_path),
    "hooks": Part(HOOKS, hooks),
    "tests": Part(TESTS, tests),
    "server": Part(SERVING, serving),
    "preprocessing": Part(PREPROCESSING, preprocessing),
    "process": Part(PROCESS, process),
    "extras": Part(EXTRAS, extras),
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="measure this part only")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, help="keep peers and the project here, and use them again"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    names = [options.only] if options.only else list(PARTS)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="ml-ready-benchmark-") as temporary:
        bench = Bench((options.folder or Path(temporary)).resolve())
        bench.folder.mkdir(parents=True, exist_ok=True)
        try:
            lines = [line for name in names for line in measured(name, bench, options.rounds)]
        except KeyboardInterrupt:
            sys.exit("stopped")
    table = "\n".join([HEADER, *lines])
    print(table)
    if not options.only:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(table, bench, options.rounds, load), encoding="utf-8")
        print(f"\nWritten to {PAGE.relative_to(TEMPLATE)}")


def stop(*_: int | FrameType | None) -> None:
    """End like after Ctrl-C, so that what was started is ended too."""
    raise KeyboardInterrupt


def measured(name: str, bench: Bench, rounds: int) -> list[str]:
    """Measure a part; return its lines of the table."""
    print(f"{name} ... ", end="", file=sys.stderr, flush=True)
    started = time.perf_counter()
    part = PARTS[name]
    results = in_turn(part.contenders(bench), rounds * part.share)
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    lines = []
    for quantity in part.quantities:
        lines += rows(quantity, results, bench)
        # A reason is said once.
        results = {key: "–" if isinstance(of, str) else of for key, of in results.items()}
    return lines


def rows(
    quantity: Quantity,
    results: dict[str, dict[str, list[float]] | str],
    bench: Bench,
) -> list[str]:
    """Return the lines of one quantity: a line a peer, or one without."""
    figures, *others = [of if isinstance(of, str) else of[quantity.name] for of in results.values()]
    first = f"| {quantity.name} | {written(figures, quantity)} | {target(figures, quantity)} |"
    lines = []
    for name, other in zip(list(results)[1:], others, strict=True):
        peer = f"{name} {bench.versions.get(name.split()[0], '')}".strip()
        ratio = times_better(figures, other, quantity)
        lines.append(f"{first} {peer} | {written(other, quantity)} | {ratio} |")
        first = "| | | |"
    return lines or [f"{first} – | | |"]


def written(figures: list[float] | str, quantity: Quantity) -> str:
    """Write the median, and the lowest and the highest figure; or why there is none."""
    if isinstance(figures, str):
        return figures.replace("|", "\\|")[:300]
    low, middle, high = map(number, (min(figures), median(figures), max(figures)))
    return f"{middle} {quantity.unit} ({low}–{high})"


def number(figure: float) -> str:
    """Write three digits, or all before the point."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def target(figures: list[float] | str, quantity: Quantity) -> str:
    """Write the target and whether it is met, or missed by how much."""
    if quantity.target is None:
        return ""
    sign = "≥" if quantity.more_is_better else "≤"
    text = f"{sign} {number(quantity.target)} {quantity.unit}"
    if isinstance(figures, str):
        return text
    missing = median(figures) / quantity.target - 1
    missing = -missing if quantity.more_is_better else missing
    return f"{text}: " + (f"**missed by {missing:.0%}**" if missing > 0 else "met")


def times_better(ours: list[float] | str, theirs: list[float] | str, quantity: Quantity) -> str:
    """Write how many times as good our figure is as the peer's."""
    if isinstance(ours, str) or isinstance(theirs, str):
        return ""
    ratio = median(theirs) / median(ours)
    return f"{number(1 / ratio if quantity.more_is_better else ratio)} ×"


def page(table: str, bench: Bench, rounds: int, load: float) -> str:
    """Return the page: the table, on what and how it was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    machine = f"{os.cpu_count()} cores ({processor()}), {memory:.0f} GB, {platform.system()}"
    how = "\n".join(
        f"- **{name}** ({rounds * part.share} rounds): {method(part)}"
        for name, part in PARTS.items()
    )
    return f"""# Speed and size

Written by `make benchmark` on {datetime.now(UTC):%Y-%m-%d}: {machine}, \
Python {platform.python_version()}; load average {load:.2f} at the start.
Figures are the median, with the lowest and the highest in brackets; the contenders take turns.
The last column is above 1 where ml-ready is the better one.

{table}

## How it is measured
{how}

`make benchmark ARGS='--only server --rounds 5'` measures one part, without writing this page.
"""


def method(part: Part) -> str:
    """Return how a part is measured: the words that stand at its function, on one line."""
    return " ".join((part.contenders.__doc__ or "").split())


def processor() -> str:
    """Return the name of the processor."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    match = re.search(r"model name\s*: (.+)", text)
    return match[1] if match else platform.machine()


if __name__ == "__main__":
    main()
