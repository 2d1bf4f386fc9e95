"""`nmt serve`: a page that translates as you type, and an HTTP interface for other programs.

A request passes through `guard` (which checks its sender and size), `app` (the routes), `schema` (the fields that it
may have) and `batcher` (which translates the lines of all requests together, in a thread) to the `Translator`.
`answers` builds the answer from the translations.

The server needs the packages starlette and uvicorn.
"""
