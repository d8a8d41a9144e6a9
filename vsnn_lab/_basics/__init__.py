"""What every room may use: checks of arguments, files written whole, tensors in files.

May import nothing of ours.
"""
