"""``python -m llmrec`` is the command line."""

from llmrec.cli import main

main()
