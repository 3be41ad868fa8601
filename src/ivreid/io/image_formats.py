"""What is a picture: by its name, and by its first bytes."""

from __future__ import annotations

from pathlib import Path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
"""The pictures of released datasets. One more suffix here would move their frame numbers."""
OWN_SUFFIXES = (*IMAGE_SUFFIXES, ".webp", ".tif", ".tiff")
"""The pictures of one's own folders and tables, and those that `ivreid embed` takes."""

START = 132
"""As many first bytes tell every kind of file that is known here."""

_LEFTOVERS = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "thumbnails", "thumbs"),
        *("__macosx", "__pycache__", "lost+found", "system volume information"),
        *("$recycle.bin", "recycler", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "@eadir"),
    )
)

_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"GIF8": "GIF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"SIMPLE  =": "FITS",
    b"FFF\0": "FLIR raw",
    b"%PDF": "PDF",
    b"PK\x03\x04": "ZIP archive",
    b"\x1f\x8b": "gzip archive",
    b"\xfd7zXZ\0": "xz archive",
    b"BZh": "bzip2 archive",
    b"\x28\xb5\x2f\xfd": "Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "7z archive",
    b"Rar!": "RAR archive",
    b"MATLAB 5.0": "MATLAB file",
    b"\x93NUMPY": "NumPy array",
    b"\x89HDF": "HDF5",
    b"version https://git-lfs": "Git LFS pointer",
}
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
}
_WAYS_OUT = {
    "Git LFS pointer": "`git lfs pull` fetches the file itself",
    "HTML page": "the download gave a web page instead of the file (a login, a notice, an error); open it in a browser",
}


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is what file managers, archives and notebooks leave behind."""
    return name.startswith(".") or name.casefold() in _LEFTOVERS


def is_picture(name: str, suffixes: tuple[str, ...] = OWN_SUFFIXES) -> bool:
    """Whether a file of this name is a picture."""
    return not is_leftover(name) and name.lower().endswith(suffixes)


def kind_of(start: bytes) -> str:
    """The kind of file that begins with these bytes (`START` of them are enough); empty where unknown."""
    for magic, kind in _STARTS.items():
        if start.startswith(magic):
            return kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], "MP4 video")
    if start[128:132] == b"DICM":
        return "DICOM"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "HTML page"
    if text.startswith((b"<svg", b"<?xml")):
        return "SVG or XML"
    if text.startswith((b"{", b"[{")):
        return "JSON file"
    return "Netpbm" if start[:1] == b"P" and start[1:2] in b"1234567" and start[2:3].isspace() else ""


def way_out(kind: str) -> str:
    """What to do about a file of that kind that stands where another was expected; empty where unknown."""
    if kind.endswith("archive"):
        return "unpack it, and give the file inside"
    return _WAYS_OUT.get(kind, "")


def readable_kinds(path: Path) -> tuple[str, ...]:
    """The kinds that are read under this name: WebP and TIFF only where the suffix says so, or is none."""
    suffix = path.suffix.lower()
    plain = ("JPEG", "PNG", "BMP")
    if suffix in IMAGE_SUFFIXES:
        return plain
    return {".webp": (*plain, "WebP"), ".tif": (*plain, "TIFF"), ".tiff": (*plain, "TIFF")}.get(
        suffix, (*plain, "WebP", "TIFF")
    )
