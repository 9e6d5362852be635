# SPDX-License-Identifier: Apache-2.0
"""Findings as one page that can be attached to a tender."""

from abis.evaluation.report.page import page, write_report
from abis.evaluation.report.provenance import ReportProvenance, provenance

__all__ = ["ReportProvenance", "page", "provenance", "write_report"]
