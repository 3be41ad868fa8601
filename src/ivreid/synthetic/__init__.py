"""A generator of visible-infrared pedestrian pictures in the layouts of real datasets."""

from ivreid.synthetic.generate import SynthSummary, synthesise
from ivreid.synthetic.request import DEFAULT_GAP
from ivreid.synthetic.sheet import render_sheet

__all__ = ["DEFAULT_GAP", "SynthSummary", "render_sheet", "synthesise"]
