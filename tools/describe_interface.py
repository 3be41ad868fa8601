"""Write docs/openapi.json, the description of `ivreid serve`'s interface: python tools/describe_interface.py."""

from __future__ import annotations

import json
from pathlib import Path

from ivreid.io import write_text
from ivreid.serve.app import description

OUT = Path(__file__).parents[1] / "docs" / "openapi.json"

if __name__ == "__main__":
    write_text(OUT, json.dumps(description(), indent=1, ensure_ascii=False) + "\n")
    print(OUT)
