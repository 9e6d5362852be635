# SPDX-License-Identifier: Apache-2.0
"""The evaluation report: the findings as one self-contained HTML page."""

from abis.evaluation.report.page import page, write_report
from abis.evaluation.report.provenance import ReportProvenance, provenance

__all__ = ["ReportProvenance", "page", "provenance", "write_report"]
