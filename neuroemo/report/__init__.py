"""What a person looks at: the page and the console summary, both rendered from report.json alone."""

from neuroemo.report.html import render_report, write_report
from neuroemo.report.summary import summary_lines

__all__ = ["render_report", "summary_lines", "write_report"]
