"""A generator of visible-infrared pedestrian pictures in the layouts of real datasets."""

from ivreid.datasets.synthetic.synthesise import DEFAULT_GAP, SynthSummary, synthesise

__all__ = ["DEFAULT_GAP", "SynthSummary", "synthesise"]
