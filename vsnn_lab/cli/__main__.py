"""``python -m vsnn_lab.cli``, where the command is not on the path."""

from vsnn_lab.cli import main

main()
