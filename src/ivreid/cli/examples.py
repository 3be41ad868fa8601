"""What stands at the end of every `--help`: commands that work, to be copied.

A test parses each one, and runs those that are quick. No line is wider than a terminal of 80 columns.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("ivreid demo", "ivreid data check sysu-mm01 SYSU-MM01", "ivreid train --help"),
    "demo": ("ivreid demo", "ivreid demo --recipe baseline --out runs/ours"),
    "synth": (
        "ivreid synth data/synthetic",
        "ivreid synth data/regdb --layout regdb --identities 40 --images 4",
    ),
    "init": (
        "ivreid init crops",
        'ivreid init crops --person "folder 2" --infrared night --camera none',
    ),
    "data": ("ivreid data check SYSU-MM01",),
    "data check": (
        "ivreid data check SYSU-MM01",
        "ivreid data check csv people.csv --decode",
    ),
    "train": (
        "ivreid train --recipe agw --data SYSU-MM01 --out runs/agw",
        "ivreid train regdb --data RegDB --trials 1-10 --out runs/regdb",
        "ivreid train --out runs/agw --resume",
    ),
    "config": ("ivreid config list", "ivreid config keys optimizer"),
    "config list": ("ivreid config list",),
    "config show": ("ivreid config show sysu-mm01 > mine.yaml",),
    "config keys": ("ivreid config keys optimizer", "ivreid config keys method --method agw"),
    "config schema": ("ivreid config schema --out schema.json",),
    "tune": (
        "ivreid tune regdb --data RegDB --out runs/tune --trials 30",
        "ivreid train runs/tune/best.yaml --seeds 0-4 --out runs/tuned",
    ),
    "runs": ("ivreid runs runs",),
    "evaluate": (
        "ivreid evaluate runs/agw",
        "ivreid evaluate runs/agw --all-settings --latex > table.tex",
    ),
    "score": (
        "ivreid score features.npz --protocol sysu-mm01 --mode indoor",
        "ivreid score features.npz --protocol sysu-mm01 --open-set",
        "ivreid score --query q.npz --gallery g.npz --protocol cross-modality",
    ),
    "compare": (
        "ivreid compare runs/a runs/b",
        "ivreid compare runs/a runs/b runs/c --latex > table.tex",
    ),
    "calibrate": (
        "ivreid calibrate runs/agw --fpr 0.01",
        "ivreid calibrate runs/agw --fpir 0.05 --searched 30",
    ),
    "embed": ("ivreid embed runs/agw photos --modality infrared --out photos.npz",),
    "crop": (
        "ivreid crop frames boxes.txt --fps 25 --camera gate --best 4 \\\n"
        "  --modality infrared --start 2026-03-01T22:00+01:00 --out crops/gate",
    ),
    "export": ("ivreid export runs/agw --out agw.onnx",),
    "gallery": (
        "ivreid gallery create G --model runs/agw",
        "ivreid gallery add G crops/gate",
    ),
    "gallery create": ("ivreid gallery create G --model runs/agw",),
    "gallery add": (
        "ivreid gallery add G crops/gate",
        "ivreid gallery add G photos --camera yard --modality visible --time exif",
    ),
    "gallery info": ("ivreid gallery info G",),
    "gallery show": (
        "ivreid gallery show G --camera gate --limit 5",
        "ivreid gallery show G --audit",
    ),
    "gallery verify": ("ivreid gallery verify G",),
    "gallery delete": ("ivreid gallery delete G --camera gate --to 2026-03-01T22:00+01:00",),
    "gallery erase": ("ivreid gallery erase G --pid 7",),
    "gallery expire": ("ivreid gallery expire G --older-than 30d",),
    "gallery export": ("ivreid gallery export G --out crops.parquet",),
    "gallery copy": ("ivreid gallery copy G elsewhere/G",),
    "gallery index": (
        "ivreid gallery index postgresql://ann@db.example/people",
        "ivreid gallery index postgresql://ann@db.example/people --hnsw",
    ),
    "search": (
        "ivreid search G night.png --modality infrared --gallery-modality visible",
        "ivreid search G track --modality infrared --fuse mean --html hits.html",
        "ivreid search G --features night.npz --rows 0-2",
    ),
    "serve": ("ivreid serve G", "ivreid serve G --topology topology.yaml"),
    "methods": ("ivreid methods", "ivreid methods iv-reid"),
    "reproduce": ("ivreid reproduce agw --data SYSU-MM01 --checkpoint sysu_agw.t",),
    "import": ("ivreid import sysu_agw.t --from agw --out agw.safetensors",),
    "report": ("ivreid report runs/a", "ivreid report runs/a runs/b --out a-and-b.html"),
    "card": ("ivreid card runs/agw --licence mit",),
    "doctor": ("ivreid doctor", "ivreid doctor runs/agw", "ivreid doctor --cache --clean"),
}
"""By the words after `ivreid`; "" is the program itself."""
