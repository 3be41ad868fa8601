"""Count anew what every method of the package costs, and write it down for `ivreid methods`.

python tools/method_costs.py
"""

from __future__ import annotations

import json
from dataclasses import asdict

from ivreid.io import write_text
from ivreid.methods import METHODS
from ivreid.methods.describe import WRITTEN, measure_cost


def main() -> None:
    """Measure each on its own network and replace the file."""
    costs = {name: asdict(measure_cost(name)) for name in METHODS if METHODS.origin(name) is None}
    lines = [f"{json.dumps(name)}: {json.dumps(cost)}" for name, cost in sorted(costs.items())]
    write_text(WRITTEN, "{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(costs)} methods -> {WRITTEN}")


if __name__ == "__main__":
    main()
