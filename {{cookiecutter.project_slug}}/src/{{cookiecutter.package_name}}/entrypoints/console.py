"""The console scripts of the images: each imports its module when it runs."""

from pathlib import Path

from ml_ready.jobs.run import console_script

ROOT = Path(__file__).parents[3]

process = console_script(f"{__package__}.process", ROOT, "train")
process_spark = console_script(f"{__package__}.spark", ROOT, "train,spark")
train = console_script(f"{__package__}.train", ROOT, "train")
evaluate = console_script(f"{__package__}.evaluate", ROOT, "train")
serve = console_script(f"{__package__}.serve", ROOT, "serve")
