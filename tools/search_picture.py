"""Take docs/images/search.png, the page of `ivreid serve` with synthetic people.

    ivreid demo
    python tools/search_picture.py runs/demo

It needs playwright and chromium (`pip install 'ivreid[browser,serve]'`).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import tempfile
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

import ivreid
from ivreid.gallery import NewCrop
from ivreid.gallery.gallery import Gallery
from ivreid.gallery.topology import parse_topology
from ivreid.serve import Service, make_app

OUT = Path(__file__).parents[1] / "docs" / "images" / "search.png"
PLACES = {1: "gate", 2: "yard", 3: "roof", 4: "hall", 5: "stairs"}
NIGHT = "cam3"
TRAVEL = """travel:
  - {between: [roof, gate], least: 60, most: 7200}
  - {between: [roof, yard], least: 90, most: 7200}
  - {between: [roof, hall], least: 240, most: 86400}
  - {between: [roof, stairs], least: 20, most: 86400}
"""


def crops(data: Path, people: int) -> list[NewCrop]:
    """Crops of some people through an evening: infrared on the roof, visible elsewhere."""
    start = datetime(2026, 3, 1, 18, tzinfo=timezone(timedelta(hours=1)))
    found = []
    for number, place in PLACES.items():
        kind = ivreid.Modality.INFRARED if place == "roof" else ivreid.Modality.VISIBLE
        folders = sorted(path for path in (data / f"cam{number}").iterdir() if path.is_dir())[-people:]
        for row, person in enumerate(folders):
            for n, file in enumerate(sorted(person.glob("*.jpg"))[:3]):
                when = start + timedelta(minutes=(37 * row + 11 * number) % 290, seconds=4 * n)
                found.append(NewCrop(image=file, camera=place, time=when, modality=kind))
    return found


def main() -> None:
    """Fill a gallery, serve it, search and review in a browser, and keep what it shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a trained run on synthetic SYSU-MM01")
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--people", type=int, default=25)
    parser.add_argument("--person", type=int, default=-3, help="whom to look for: place in the sorted list")
    given = parser.parse_args()
    browser = os.environ.get("IVREID_CHROMIUM") or shutil.which("chromium")
    people = sorted(path.name for path in (given.data / NIGHT).iterdir() if path.is_dir())
    query = sorted((given.data / NIGHT / people[given.person]).glob("*.jpg"))[0]
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        gallery = Gallery.create(Path(scratch) / "G", given.run, device="cpu")
        gallery.add(crops(given.data, given.people))
        service = Service(gallery, topology=parse_topology(TRAVEL))
        server = uvicorn.Server(uvicorn.Config(make_app(service), log_config=None, ws="none"))
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        shown = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = shown.new_page(viewport={"width": 1280, "height": 1000}, timezone_id="Europe/Berlin")
        page.goto(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        page.get_by_label("Purpose").fill("Case 2026-114: who entered by the roof?")
        page.locator("[name=k]").fill("12")
        page.locator("summary").click()
        page.locator("[name=query_camera]").select_option("roof")
        page.locator("[name=query_time]").fill("2026-03-01T22:30:00")
        page.locator("input[type=file]").set_input_files(query)
        page.get_by_role("button", name="Search").click()
        page.locator(".hits > li").first.wait_for()
        for key in ("s", "ArrowRight", "d", "ArrowRight"):
            page.keyboard.press(key)
            page.wait_for_timeout(300)
        page.wait_for_timeout(500)
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        picture = picture.crop((0, 0, picture.width, min(picture.height, 1420)))
        picture.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(OUT, optimize=True)
        shown.close()
        server.should_exit = True
        thread.join()
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
