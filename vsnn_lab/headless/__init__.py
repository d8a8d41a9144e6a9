"""Notebooks without a browser: runs, sweeps, reports and the command line.

May import ``_basics``, ``data``, ``figures``, ``explore``.
"""
