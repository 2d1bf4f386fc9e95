"""The corpus that comes with the program: a grammar and a lexicon that make sentence pairs with their word links.

Corpora from files and from the hub are read by `nmt.data.sources`.
"""
