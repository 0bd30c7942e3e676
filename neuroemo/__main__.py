"""``python -m neuroemo``: the command line."""

from neuroemo.cli import main

main()
