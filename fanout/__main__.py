"""`python -m fanout`: the same as the `fanout` script."""

from fanout.cli import main

main()
