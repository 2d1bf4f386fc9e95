"""Implement the commands, with one file for each; they can be called from Python.

Options and help texts are in `nmt.cli`; no command imports another.
"""
