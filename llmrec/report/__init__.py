"""Tables, statistics, plots and the page of a suite, made from its records alone. Nothing here imports torch."""
