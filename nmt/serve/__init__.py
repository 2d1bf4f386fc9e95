"""`nmt serve`: a page that translates while one types, and an HTTP interface that other programs speak.

A request goes through `guard` (who asks, and how much), `app` (routes), `schema` (what it may contain) and `batcher`
(lines of all requests, translated together in a thread) to the `Translator`; `answers` makes of translations what was
asked for.

Needs the packages of ``pip install nmt[serve]``.
"""
