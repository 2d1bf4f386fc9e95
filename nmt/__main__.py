"""`python -m nmt` is the same program as `nmt`."""

from nmt.cli import main

main()
