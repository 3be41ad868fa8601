"""What a URL of a database says, and what it must never show."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivreid.errors import UsageError
from ivreid.gallery.opening import open_store
from ivreid.gallery.postgres.address import Server, parse
from ivreid.reading import shown_address


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "PGPORT", "PGUSER"):
        monkeypatch.delenv(name, raising=False)


def test_every_part_of_a_url_is_read() -> None:
    assert parse("postgresql://ann:p%40ss@db.example:6543/people?schema=north&sslmode=require") == Server(
        "db.example", 6543, "ann", "p@ss", "people", "north", "require"
    )
    assert parse("postgresql://ann@[::1]/people") == Server(
        "::1", 5432, "ann", None, "people", "ivreid", "disable"
    )
    assert parse("postgres://ann@/people?host=/run/pg") == Server(
        "/run/pg", 5432, "ann", None, "people", "ivreid", "disable"
    )
    assert parse("postgresql://ann@far/people").sslmode == "verify-full"


def test_what_is_left_out_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "ben")
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("PGPORT", "7777")
    assert parse("postgresql:///") == Server("localhost", 7777, "ben", "secret", "ben", "ivreid", "disable")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://a:topsecret@h:port/d", "is no address of a database"),
        ("postgresql://a:topsecret@h/d?nonsense=1", "`nonsense` is unknown"),
        (
            "postgresql://a:topsecret@h/d?sslmode=maybe",
            "sslmode is disable or require or verify-full, not 'maybe'",
        ),
        ("postgresql://a:topsecret@h/d?schema=Bad-Name", "the schema is 'Bad-Name'"),
        ("postgresql://a:topsecret@h/d?schema=pg_catalog", "the schema is 'pg_catalog'"),
        ("postgresql://a:topsecret@h/d#part", "is no address of a database"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        open_store(url)
    assert "topsecret" not in str(caught.value)


def test_no_form_of_an_address_that_is_shown_holds_a_password() -> None:
    both = "postgresql://ann:top@secret@h:1/d?schema=a,postgresql://ben:topsecret@[::1]/d"
    assert shown_address(both) == "postgresql://ann@h:1/d?schema=a,postgresql://ben@[::1]/d"
    assert shown_address("postgresql://h/d") == "postgresql://h/d" and shown_address(Path("a:b@c")) == "a:b@c"
    with pytest.raises(UsageError, match="has no shards") as caught:
        open_store("postgresql://a:topsecret@h/d", allow_partial=True)
    assert "topsecret" not in str(caught.value)


def test_an_address_to_show_leads_there_but_holds_no_password() -> None:
    for url in (
        "postgresql://ann:topsecret@db.example:6543/people?schema=north",
        "postgresql://ann:topsecret@/people?host=/run/pg",
        "postgresql://ann:topsecret@[::1]:1/people",
    ):
        server = parse(url)
        assert "topsecret" not in f"{server} {server!r}"
        again = parse(str(server))
        assert (again.host, again.port, again.database, again.schema) == (
            server.host, server.port, server.database, server.schema
        )  # fmt: skip
