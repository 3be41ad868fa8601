"""What people give for a checkpoint and what it is instead, each with the way out."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ivreid.errors import CheckpointError
from ivreid.io import START, kind_of, way_out
from ivreid.reading import clean

NOT_TOLD = ("", "ZIP archive", "BMP", "Netpbm", "JPEG XL")
"""What torch writes itself, and kinds of which two bytes alone tell: a damaged checkpoint is no picture."""


def refuse_wrong_files(path: Path) -> None:
    """Refuse a file or folder that is no checkpoint, by what it is.

    Raises:
        CheckpointError: An unpacked archive, a Git LFS pointer, a web page, a compressed file, a picture...
    """
    if (path / "data.pkl").is_file():
        name = f"{path.name or 'weights'}.pth"
        raise CheckpointError(
            f"{clean(path)} is an unpacked PyTorch archive; pack it again without compression, from the folder "
            f"above: zip -0 -r {clean(name)} {clean(path.name)}"
        )
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(START)
        tar = file.seek(257) and file.read(5) == b"ustar"
    kind = "tar archive" if tar else kind_of(start)
    if start[8:9] == b"{" or kind in NOT_TOLD:
        return
    advice = (
        "give the file that `torch.save` or safetensors wrote" if kind == "NumPy array" else way_out(kind)
    )
    raise CheckpointError(f"{clean(path)} is no checkpoint but a {kind}{f': {advice}' if advice else ''}")


def refuse_foreign_archive(path: Path, archive: zipfile.ZipFile) -> str:
    """The name of the pickle in an archive that torch wrote.

    Raises:
        CheckpointError: It is another archive; the message says which, and the way out.
    """
    names = [entry.filename for entry in archive.infolist()]
    pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise CheckpointError(
            f"{clean(path)} is a TorchScript archive, a program with its weights; save the weights alone: "
            f'torch.save(torch.jit.load("{clean(path.name)}").state_dict(), "weights.pth")'
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()) and pickles:
        raise CheckpointError(
            f"{clean(path)}: refused, it holds compressed parts, which PyTorch never writes; if it was packed "
            "anew, unpack it and pack it without compression: unzip FILE -d x && (cd x && zip -0 -r ../new.pth *)"
        )
    if len(pickles) != 1:
        inside = next((n for n in names if n.endswith((".pth", ".pt", ".t", ".bin", ".safetensors"))), None)
        hint = f"; unpack it, and give {clean(inside)}" if inside else ""
        if any(name.endswith(".npy") for name in names):
            hint = ", but NumPy arrays; give the file that `torch.save` or safetensors wrote"
        raise CheckpointError(f"{clean(path)} is a zip archive, but not a PyTorch checkpoint{hint}")
    return pickles[0]
