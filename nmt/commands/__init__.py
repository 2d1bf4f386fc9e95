"""What the commands do, one file for each command, callable from Python.

Options and help texts are in `nmt.cli`; no command imports another.
"""
