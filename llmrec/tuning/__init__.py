"""Equal tuning: the same number of trials for every row of a suite, on the validation part only.

    setup      what one study is: a row of a suite on a dataset, its space, its seed
    proposals  which parameters a trial has: a function of the study's seed and its earlier trials
    floors     where a trial falls so far behind that it is pruned: by epoch, never by time
    study      one study in the suite's one study file
    search     does all trials of all studies, through the runner
    freeze     writes the best parameters where suites find them
    budget     how far the studies are: the table and the curves that `llmrec report` makes of frozen ones

A trial is an ordinary run with an ordinary record, whose spec says ``part = "valid"``: its worker fits and validates,
and the test part is never asked for. Records and studies lie in results/tuning/ and are not committed; a frozen file
holds every trial in short, and reports are made from it.
"""
