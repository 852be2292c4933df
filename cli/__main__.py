"""`python3 -m cli`."""

from cli.main import main

main()
