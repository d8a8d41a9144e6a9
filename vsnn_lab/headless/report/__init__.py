"""Executed notebooks as a folder of pages: width sliders included, no server, no network."""

from vsnn_lab.headless.report.site import build_report

__all__ = ["build_report"]
