"""`python -m ivreid` and `torchrun -m ivreid` are the `ivreid` command."""

from ivreid.cli import main

main()
