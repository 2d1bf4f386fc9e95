"""`nmt serve`: a page that translates while one types, and an HTTP interface that other programs speak.

A request goes through `app` (routes, limits, headers), `schema` (what it may contain) and `batcher` (lines of all
requests, translated together in a thread) to the `Translator`. Needs the packages of ``pip install nmt[serve]``.
"""
