"""A generator of visible-infrared pedestrian pictures in the layouts of real datasets."""

from ivreid.synthetic.contact_sheet import write_contact_sheet
from ivreid.synthetic.dataset_request import DEFAULT_GAP
from ivreid.synthetic.generate import SynthSummary, is_drawn, picture_identities, synthesise

__all__ = [
    "DEFAULT_GAP",
    "SynthSummary",
    "is_drawn",
    "picture_identities",
    "synthesise",
    "write_contact_sheet",
]
