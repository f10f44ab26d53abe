"""Claims as code: what is said of methods, the test that decides it, and what the published figures say to it.

`read` reads paper/claims.toml, `decide` comes to verdicts, `show` writes them as tables.
"""
