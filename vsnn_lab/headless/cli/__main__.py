"""``python -m vsnn_lab.headless.cli``, where the command is not on the path."""

from vsnn_lab.headless.cli import main

main()
