"""`ivreid gallery expire`: old crops out of every file of a gallery."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from ivreid.cli.gallery_options import Address, Json, Zone, now, the_zone


def expire(
    gallery: Address,
    older_than: Annotated[
        str, typer.Option(help="30d, 12h, 4w, or a time; crops taken before it go", metavar="AGE|TIME")
    ],
    zone: Zone = None,
    json: Json = False,
) -> None:
    """Remove old crops and their bytes, as `erase` does; for a nightly job."""
    from ivreid.cli.gallery_receipt import print_receipt
    from ivreid.gallery.intake import with_zone
    from ivreid.gallery.opening import open_store
    from ivreid.gallery.patterns import parse_age
    from ivreid.gallery.receipts import keep

    before = with_zone(parse_age(older_than, now()), the_zone(zone))
    with closing(open_store(gallery)) as store:
        receipt = keep(store, store.expire(before))
    print_receipt(receipt, json)
