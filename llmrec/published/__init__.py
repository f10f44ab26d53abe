"""A suite's figures, frozen: what the paper and everyone else reads.

results/published/<suite>.parquet         one row a run, slice and metric (see `llmrec.published.tables`)
results/published/<suite>.users.parquet   the figures of each user, impression or request

`freeze` makes them from records, `read` reads them, `blocks` gives what tables and plots are made of.
"""
