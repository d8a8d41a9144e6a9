"""The atlas of widths: what width costs in every task, read from tracked results and drawn."""
