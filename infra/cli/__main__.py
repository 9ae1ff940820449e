"""`python -m infra.cli` is `tape`."""

from infra.cli import main

main()
