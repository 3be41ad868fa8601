"""Reports: tables, charts and ranked-list pictures in one self-contained HTML page."""

from ivreid.report.inputs import Hit, ImageLoader, RankedLists, RankedQuery, ReportInput, ShownImage
from ivreid.report.page import build_report
from ivreid.report.ranked_lists import choose_lists
from ivreid.report.several import write_comparison
from ivreid.report.write import write_report

__all__ = [
    "Hit",
    "ImageLoader",
    "RankedLists",
    "RankedQuery",
    "ReportInput",
    "ShownImage",
    "build_report",
    "choose_lists",
    "write_comparison",
    "write_report",
]
