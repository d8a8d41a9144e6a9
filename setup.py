"""What pyproject.toml cannot say: the package holds the notebooks, which stand beside it."""

from setuptools import find_packages, setup

NOTEBOOKS = "vsnn_lab.headless.notebooks"

setup(
    packages=[*find_packages(include=["vsnn_lab", "vsnn_lab.*"]), NOTEBOOKS],
    package_dir={NOTEBOOKS: "notebooks"},
)
