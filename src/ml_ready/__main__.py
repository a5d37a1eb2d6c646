"""`python -m ml_ready`: the command `ml-ready`."""

from .cli import main

main()
