"""Records that were made elsewhere, brought home: `llmrec merge`.

All that comes is read and checked first (`incoming`), then weighed against what is here (`weigh`), and only if nothing
contradicts is anything put in place (`carry`): all of it, or nothing.
"""
