"""``python -m neuroemo``: the command line."""

from neuroemo.cli import main

if __name__ == "__main__":
    main()
