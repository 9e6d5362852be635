# SPDX-License-Identifier: Apache-2.0
"""The evaluation report: the findings as one self-contained HTML page, as PDF or as PNG."""

from abis.evaluation.report.page import check_ending, page, write_report
from abis.evaluation.report.provenance import ReportProvenance, provenance

__all__ = ["ReportProvenance", "check_ending", "page", "provenance", "write_report"]
