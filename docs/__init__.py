"""The documentation: its pages, and what draws pictures of the package for them."""
