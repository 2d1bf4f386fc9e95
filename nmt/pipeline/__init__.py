"""Where the parts are put together: one module per command, each with one `run_...` function."""
