"""`python -m tinybpe` is the command `tinybpe`."""

from tinybpe.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
