"""`llmrec site`: the records as static pages that need no server and no network; see `llmrec.site.write`."""
