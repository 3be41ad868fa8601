"""Sizes in words, of folders, and what is free."""

import pytest

from ivreid.io import folder_bytes, free_bytes, size_in_words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (4_700_000_000, "4.7 GB"),
        (3_000_000_000_000_000, "3,000 TB"),
    ],
)
def test_sizes_are_said_as_people_do(count: int, text: str) -> None:
    assert size_in_words(count) == text


def test_a_folder_is_all_files_below_it_and_free_is_asked_of_the_nearest_parent(tmp_path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"1234")
    (tmp_path / "a" / "b" / "two").write_bytes(b"123456")
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    assert folder_bytes(tmp_path / "a") == 10
    assert folder_bytes(tmp_path / "none") == 0
    assert free_bytes(tmp_path / "not" / "yet" / "there") > 0
