"""Evidence as pages for people who decide: one file each, without script, nothing fetched, on a
screen and on paper. Plain words come first, then the figures."""

from qtctl.cli.views.html.evidence import evidence_page
from qtctl.cli.views.html.readiness import readiness_page
from qtctl.cli.views.html.replay import replay_page
from qtctl.cli.views.html.report import report_page

__all__ = ["evidence_page", "readiness_page", "replay_page", "report_page"]
