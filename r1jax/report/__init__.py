"""What a store shows: one self-contained report.html with PNG plots beside it, and the artifact graph as text.

Everything is read through `r1jax.store.Store`; nothing is computed that the runs did not record.
"""

from r1jax.report.lineage import lineage_text
from r1jax.report.page import write_report

__all__ = ["lineage_text", "write_report"]
