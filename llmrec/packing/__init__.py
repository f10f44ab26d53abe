"""Suites for machines without a network: `llmrec pack` writes one archive, `llmrec run ARCHIVE` does its runs there.

    manifest.json      what is in it: runs, code's fingerprints, cards, SHA-256 of every member (`manifest`)
    suite/             the suite's file, tuned/ beside it
    cards/             dataset cards of the user's own, and the files that they find beside them
    methods/           method files of the user's own
    data/<dataset>/    the dataset as llmrec's cache holds it: one Parquet file a table
    embeddings/        texts' embeddings as the cache holds them; encoders/ has the encoders' tokenizers, no weights
    code/              with --code: llmrec itself, laid out as in a wheel; __main__.py starts it: `python ARCHIVE`

An archive is a zip: what Python reads without a further package, and can start.
"""
