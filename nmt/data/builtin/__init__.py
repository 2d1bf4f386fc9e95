"""The corpus that comes with the program: a grammar and a lexicon that generate sentence pairs with word links.

`nmt.data.sources` reads corpora from files and from the hub.
"""

BUILTIN_VERSION = 1  # raise it if any sentence or link changes: caches and runs name their data by it
