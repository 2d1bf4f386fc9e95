"""The corpus that comes with the program: a grammar and a lexicon that generate sentence pairs with word links.

`nmt.data.sources` reads corpora from files and from the hub.
"""
