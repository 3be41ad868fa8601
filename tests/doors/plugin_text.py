"""A plugin's text: a method, a dataset without a protocol, and a protocol."""

METHOD = '''
import ivreid
from ivreid.methods.iv_reid import IVReID

@ivreid.register_method
class Mine(IVReID):
    """One stream."""

    name = "mine"
    recipe = importer = None
'''

DATASET = '''
import ivreid
from ivreid.datasets import DatasetScan, Reader, number_frames
from ivreid.types import Modality

@ivreid.register_dataset
class Night(Reader):
    """`ROOT/{day,night}/{pid}-{camid}-{n}.jpg`; people below 10 are trained on."""

    name = "night"
    recognised_by = ("day", "night")

    def read(self, tree, trial):
        found, sizes = [], {}
        for top in tree.require_folders(["day", "night"]):
            modality = Modality.INFRARED if top == "night" else Modality.VISIBLE
            for file, size in tree.images(top).items():
                pid, camid, _ = file.split("-")
                found.append((f"{top}/{file}", int(pid), int(camid), modality))
                sizes[f"{top}/{file}"] = size
        samples = number_frames(found)
        train = [sample for sample in samples if sample.pid < 10]
        return DatasetScan({"train": train, "test": [s for s in samples if s.pid >= 10]}, sizes)

    def example(self, root):
        from ivreid.datasets.examples import write_picture

        for top, camid in (("day", 1), ("day", 2), ("night", 3)):
            for pid in (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13):
                for number in (1, 2):
                    write_picture(root, f"{top}/{pid}-{camid}-{number}.jpg")
        return root
'''

PROTOCOL = '''
from dataclasses import dataclass
from typing import ClassVar

import ivreid
from ivreid.protocols.base import Trial, both_sides
from ivreid.protocols import Protocol

@ivreid.register_protocol
@dataclass(frozen=True)
class Patrol(Protocol):
    """Infrared queries, one room at a time."""

    name: ClassVar[str] = "patrol"
    choices: ClassVar = {"room": ("hall", "yard")}
    default_cmc: ClassVar = "identity"

    room: str = "hall"

    @property
    def title(self):
        return f"Patrol, {self.room}"

    @property
    def options(self):
        return {"room": self.room, "cmc": self.cmc}

    def trials(self, images):
        return (Trial(*both_sides(self.name, images, query_infrared=True)),)
'''
