"""Vision transformers with overlapping patches against timm's own, and every wrong choice."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from ivreid.errors import CheckpointError, UsageError
from ivreid.models import create_vit, resize_table
from ivreid.models.vit import _create, plain_vits

NAME = "test_vit"  # 64 wide, 6 blocks, patches of 16, a grid of 10 x 10


def images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def test_its_own_size_and_stride_are_timms_network(tmp_path):
    torch.manual_seed(0)
    plain = timm.create_model(NAME, num_classes=7).eval()
    torch.save(plain.state_dict(), tmp_path / "w.pth")  # with a head, as released files have
    net = create_vit(NAME, (160, 160), pretrained=str(tmp_path / "w.pth")).eval()
    assert net.grid == (10, 10)
    names = {name for name in plain.state_dict() if not name.startswith("head.")}
    assert net.state_dict().keys() == names
    x = images(160, 160)
    with torch.no_grad():
        torch.testing.assert_close(net(x), plain.forward_features(x)[:, 0], atol=1e-6, rtol=1e-5)


def test_overlapping_patches_by_loops(tmp_path):
    torch.manual_seed(0)
    plain = timm.create_model(NAME, num_classes=0).eval()
    torch.save(plain.state_dict(), tmp_path / "w.pth")
    net = create_vit(NAME, (64, 40), stride=12, norm_eps=1e-3, pretrained=str(tmp_path / "w.pth")).eval()
    assert net.grid == (5, 3)
    x = images(64, 40)
    weight, bias = plain.patch_embed.proj.weight, plain.patch_embed.proj.bias
    table = resize_table(plain.pos_embed.detach(), (10, 10), (5, 3))
    for module in plain.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-3
    with torch.no_grad():
        tokens = [plain.cls_token.expand(2, -1, -1)[:, 0] + table[:, 0]]
        for row in range(5):
            for column in range(3):
                patch = x[:, :, 12 * row : 12 * row + 16, 12 * column : 12 * column + 16]
                place = table[:, 1 + 3 * row + column]
                tokens.append(patch.flatten(1) @ weight.flatten(1).T + bias + place)
        expected = plain.norm(plain.blocks(torch.stack(tokens, 1)))[:, 0]
        torch.testing.assert_close(net(x), expected, atol=1e-5, rtol=1e-4)


def test_the_position_table_is_interpolated_bilinearly():
    rows, columns = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")
    table = torch.cat([torch.full((1, 1, 2), -5.0), torch.stack([rows, columns], -1).reshape(1, 196, 2)], 1)
    out = resize_table(table, (14, 14), (21, 10))
    assert out.shape == (1, 211, 2)
    assert out[0, 0].tolist() == [-5.0, -5.0]
    grid = out[0, 1:].reshape(21, 10, 2)
    for row in range(21):  # align_corners false: the centre of place r lies at (r + 1/2) 14/21 - 1/2
        for column in range(10):
            wanted = [min(max((k + 0.5) * 14 / n - 0.5, 0.0), 13.0) for k, n in ((row, 21), (column, 10))]
            assert grid[row, column].tolist() == pytest.approx(wanted, abs=1e-4)
    assert resize_table(table, (14, 14), (14, 14)) is table
    bare = resize_table(table[0, 1:], (14, 14), (7, 7))  # a table without CLS and without batch
    expected = functional.interpolate(
        table[:, 1:].reshape(1, 14, 14, 2).permute(0, 3, 1, 2), size=(7, 7), mode="bilinear"
    )
    assert torch.equal(bare, expected.permute(0, 2, 3, 1).reshape(49, 2))


def test_dropout_and_depth_stand_where_they_are_asked_for():
    net = create_vit(NAME, (64, 32), drop=0.03, drop_path=0.1)
    assert net.pos_drop.p == 0.03
    last = len(net.blocks) - 1
    for number, block in enumerate(net.blocks):
        drops = (block.attn.proj_drop.p, block.mlp.drop1.p, block.mlp.drop2.p)
        assert drops == (0.03, 0.03, 0.03)
        assert block.attn.attn_drop.p == 0
        assert getattr(block.drop_path1, "drop_prob", 0.0) == pytest.approx(0.1 * number / last)


@pytest.mark.parametrize(
    ("name", "size", "stride", "message"),
    [
        ("vit_bas_patch16_224", (64, 32), None, "did you mean vit_base_patch16_224"),
        (
            "resnet18",
            (64, 32),
            None,
            "method.backbone = resnet18 is no .*; known: vit_base_patch16_224, vit_base",
        ),
        ("test_vit2", (64, 32), None, "no plain vision transformer"),
        (NAME, (64, 32), 17, "stride of test_vit must be 1 to 16, its patch's side, not 17"),
        (
            NAME,
            (64, 15),
            None,
            r"data.size = \[64, 15\]: .* no patch of test_vit, which is 16x16; set data.size=\[64,16\]",
        ),
    ],
)
def test_wrong_choices_say_what_fits(name, size, stride, message):
    with pytest.raises(UsageError, match=message):
        create_vit(name, size, stride=stride)


def test_every_transformer_that_a_message_lists_fits():
    names = plain_vits()
    assert names[0] == "vit_base_patch16_224" and len(names) > 20
    with torch.device("meta"):
        for name in names:
            assert _create(name, imagenet=False, drop=0.0, drop_path=0.0).num_prefix_tokens == 1


def test_images_of_another_size_are_refused():
    with pytest.raises(UsageError, match="takes images of 64x32, not 32x64: its position table has 4x2"):
        create_vit(NAME, (64, 32))(images(32, 64))


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path):
    torch.save(timm.create_model("test_vit3", num_classes=0).state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="is not weights of test_vit: it"):
        create_vit(NAME, (64, 32), pretrained=str(tmp_path / "w.pth"))


def test_imagenet_weights_that_cannot_be_fetched_name_the_ways_out(monkeypatch):
    def offline(name, **_):
        raise OSError(f"no route to host for {name}\nlong trace")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        UsageError,
        match=r"for vit_base_patch16_224\.orig_in21k_ft_in1k\). Give .*\(method\.pretrained=FILE\.pth\)",
    ):
        create_vit("vit_base_patch16_224", (64, 32), pretrained="imagenet")
