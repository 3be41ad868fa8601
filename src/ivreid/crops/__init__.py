"""From frames and boxes to crops: what a detector or tracker found, cut out, judged, and listed."""

from ivreid.crops.boxes import Box, boxes_of
from ivreid.crops.cutting import Cropped, crop_frames
from ivreid.crops.quality import Quality, judge

__all__ = ["Box", "Cropped", "Quality", "boxes_of", "crop_frames", "judge"]
