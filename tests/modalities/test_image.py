import gzip
import io
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dnar2mae import pretrain
from dnar2mae.batch import LabelledSource, evenly_spaced
from dnar2mae.cli import main
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, DataError
from dnar2mae.inference import load
from dnar2mae.masking import fixed_masks
from dnar2mae.modalities.image.arrays import open_images, read_idx
from dnar2mae.modalities.image.config import ImageConfig
from dnar2mae.modalities.image.images import ArrayImages, JoinedImages
from dnar2mae.modalities.image.modality import ImageModality
from dnar2mae.modalities.image.patches import (
    GridPlaces,
    normalised,
    normalised_squared_error,
    to_patches,
    to_pixels,
)
from dnar2mae.modalities.image.reconstruction import reconstruct
from dnar2mae.modalities.image.source import ImageSource, ShuffledSource, repeated, split
from dnar2mae.modalities.image.yardstick import hidden_patches, nearest_visible
from dnar2mae.modalities.registry import build_modality, preset_for
from dnar2mae.training.build import build_model
from dnar2mae.training.validation import masked_sums
from tests.modalities.kinds import image as gradients
from tests.modalities.kinds import tiny

RNG = np.random.default_rng(0)
SIZES = (
    "--model.backbone transformer --model.objective mae --model.width 16 --model.depth 1 --model.heads 1"
    " --model.mlp-width 16 --device cpu --steps 2"
).split()


def digits(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **settings)


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """Two classes; files and folders are written in an order that is not the sorted one."""
    for name, count in (("zebra", 2), ("ant", 3)):
        for i in reversed(range(count)):
            save(tmp_path / "set" / name / f"{i}.png", np.full((8, 8), 10 * i + (name == "ant"), np.uint8))
    return tmp_path / "set"


def test_labels_of_a_folder_follow_the_sorted_class_names(folder):
    images = open_images(folder, ImageConfig())
    assert images.classes == ("ant", "zebra")
    assert images.labels.tolist() == [0, 0, 0, 1, 1]
    values = (images.pixels(np.arange(5))[:, 0, 0, 0] * 255).round()
    assert values.tolist() == [1, 11, 21, 0, 10]


def test_images_past_the_memory_limit_read_the_same(folder):
    kept, decoded = (open_images(folder, ImageConfig(memory_mb=mb)) for mb in (1, 0))
    assert isinstance(kept, ArrayImages)
    assert not isinstance(decoded, ArrayImages)
    index = np.array([4, 0, 2])
    np.testing.assert_array_equal(kept.pixels(index), pickle.loads(pickle.dumps(decoded)).pixels(index))


def test_size_scales_the_shorter_side_and_cuts_the_middle(tmp_path):
    wide = np.zeros((10, 40), np.uint8)
    wide[:, 15:25] = 255  # the middle square
    save(tmp_path / "set" / "wide.png", wide)
    save(tmp_path / "set" / "tall.png", wide.T)
    images = open_images(tmp_path / "set", ImageConfig(size=5))
    assert images.shape == (5, 5, 1)
    assert images.labels is None
    middle = images.pixels(np.arange(2))[:, 1:4, 1:4]
    assert (middle > 0.95).all()


def test_channels_are_converted_alike_in_files_and_arrays(tmp_path):
    colours = digits(1, 6, 6, 3)
    save(tmp_path / "set" / "a.png", colours[0])
    np.save(tmp_path / "a.npy", colours)
    grey = [open_images(tmp_path / n, ImageConfig(channels=1)).pixels(np.array([0])) for n in ("set", "a.npy")]
    assert grey[0].shape == (1, 6, 6, 1)
    np.testing.assert_allclose(grey[0], grey[1], atol=1.01 / 255)  # files are rounded to a byte
    np.save(tmp_path / "g.npy", colours[..., 0])
    repeated_grey = open_images(tmp_path / "g.npy", ImageConfig(channels=3)).pixels(np.array([0]))
    np.testing.assert_array_equal(repeated_grey, (colours[..., :1] / np.float32(255)).repeat(3, axis=3))


def test_idx_and_npz_with_labels(tmp_path):
    pixels, labels = digits(7, 4, 6), np.array([3, 1, 3, 7, 1, 1, 3], np.uint8)
    (tmp_path / "t-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
    (tmp_path / "t-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    (tmp_path / "plain").write_bytes(idx(pixels))
    np.savez(tmp_path / "a.npz", images=pixels, labels=labels)
    np.savez(tmp_path / "named.npz", x=pixels, y=np.array(list("cacbaac")))
    settings = ImageConfig(images_key="x", labels_key="y")
    found = [open_images(tmp_path / n, ImageConfig()) for n in ("t-images-idx3-ubyte.gz", "a.npz", "plain")]
    found.append(open_images(tmp_path / "named.npz", settings))
    for images in found:
        assert images.shape == (4, 6, 1)
        np.testing.assert_array_equal(images.pixels(np.arange(7))[..., 0], pixels / np.float32(255))
    assert found[0].classes == found[1].classes == ("1", "3", "7")
    assert found[3].classes == ("a", "b", "c")
    assert found[0].labels.tolist() == found[1].labels.tolist() == [1, 0, 1, 2, 0, 0, 1]
    assert found[2].labels is found[2].classes is None


def test_a_memory_mapped_array_is_reopened_and_not_copied(tmp_path):
    np.save(tmp_path / "a.npy", digits(500, 8, 8))
    images = open_images(tmp_path / "a.npy", ImageConfig())
    sent = pickle.dumps(images)
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent).pixels(np.arange(5)), images.pixels(np.arange(5)))


def test_joined_images_are_those_of_the_parts():
    parts = [ArrayImages(str(n), digits(n, 2, 2)) for n in (3, 1, 4)]
    joined = JoinedImages([("x", part) for part in parts])
    whole = np.concatenate([part.pixels(np.arange(len(part))) for part in parts])
    order = np.array([7, 0, 3, 2, 4])
    assert len(joined) == 8
    np.testing.assert_array_equal(joined.pixels(order), whole[order])


def test_patches_are_joined_to_the_same_image():
    pixels = digits(3, 8, 12, 3) / np.float32(255)
    patches = to_patches(pixels, 4)
    assert patches.shape == (3, 6, 48)
    np.testing.assert_array_equal(patches[1, 4].reshape(4, 4, 3), pixels[1, 4:8, 4:8])
    np.testing.assert_array_equal(to_pixels(patches, (8, 12, 3), 4), pixels)


def test_places_depend_on_rows_and_columns_apart():
    table = GridPlaces((3, 5), 16).table.view(3, 5, 16)
    assert (table[:, :1, :8] == table[:, :, :8]).all()
    assert (table[:1, :, 8:] == table[:, :, 8:]).all()
    torch.testing.assert_close(table[2, 1, :4], torch.sin(2.0 * 10_000.0 ** -(torch.arange(4) / 4)))
    assert torch.cdist(table.flatten(0, 1), table.flatten(0, 1)).fill_diagonal_(9).min() > 0.1


def test_the_normalised_loss_is_one_for_no_prediction_and_does_not_see_brightness():
    true = torch.rand(20, 16)
    torch.testing.assert_close(normalised_squared_error(torch.zeros(20, 16), true), torch.ones(20), rtol=1e-3, atol=0)
    torch.testing.assert_close(normalised(true), normalised(0.5 * true + 0.2), rtol=1e-3, atol=1e-3)
    assert normalised(torch.full((1, 16), 0.7)).abs().max() < 1e-3


def test_shuffled_images_come_once_a_round_and_in_an_order_of_their_own():
    held = ImageSource(ArrayImages("a", np.arange(40, dtype=np.uint8).reshape(40, 1, 1)), np.arange(30) + 5, 1)
    source = ShuffledSource(held, seed=3)
    first, second = ((source.batch(np.arange(30) + start).values.flatten() * 255).round().tolist() for start in (0, 30))
    assert sorted(first) == sorted(second) == list(range(5, 35))
    assert first != second
    mixed = (source.batch(np.array([31, 2])).values.flatten() * 255).round().tolist()
    assert mixed == [second[1], first[2]]


def test_shift_and_flip_move_images_as_they_say():
    pixels = digits(1, 6, 6)
    held = ImageSource(ArrayImages("a", pixels), np.zeros(1, np.int64), 6)
    padded = np.pad(pixels[0], 2, mode="edge")
    wanted = {padded[y : y + 6, x : x + 6].tobytes() for y in range(5) for x in range(5)}
    wanted |= {np.frombuffer(w, np.uint8).reshape(6, 6)[:, ::-1].tobytes() for w in wanted}
    source = ShuffledSource(held, seed=0, shift=2, flip=True)
    values = (source.batch(np.arange(600)).values.view(600, 36) * 255).round().numpy().astype(np.uint8)
    assert {row.tobytes() for row in values} == wanted
    plain = ShuffledSource(held, seed=0).batch(np.arange(3)).values.view(3, 36)
    np.testing.assert_allclose(plain, np.tile(pixels.reshape(36) / 255, (3, 1)), rtol=1e-6)


def test_the_split_keeps_images_apart_and_does_not_depend_on_the_seed():
    images = ArrayImages("a", digits(50, 2, 2))
    train, held_out = split(images, 0.2)
    assert len(held_out) == 10
    assert sorted([*train, *held_out]) == list(range(50))
    assert held_out.tolist() != list(range(40, 50))
    assert [len(part) for part in split(ArrayImages("b", digits(2, 2, 2)), 0.1)] == [1, 1]


def test_repeated_images_are_counted():
    images = ArrayImages("a", digits(6, 2, 2)[[0, 1, 2, 0, 1, 3]])
    assert repeated(ImageSource(images, np.arange(3, 6), 1), ImageSource(images, np.arange(3), 1)) == 2


def test_nearest_visible_patch():
    hidden = torch.tensor([[False, True, True, True, True, False]])
    assert nearest_visible(hidden, (2, 3)).tolist() == [[0, 0, 5, 0, 5, 5]]


@pytest.mark.parametrize("normalise", [True, False])
def test_the_yardstick_is_the_loss_of_a_model_that_predicts_it(tmp_path, normalise):
    config = gradients(tmp_path)
    config = replace(config, data=replace(config.data, normalise_patches=normalise), validation_windows=100)
    modality = ImageModality(config)
    model = build_model(config, modality)
    yardstick = modality.yardstick()
    assert yardstick.keys() == {"mean image", "patch mean", "nearest patch"}

    def flat(predicted, true):
        target = normalised(true) if normalise else true
        return (target.mean(-1, keepdim=True) - target).square().mean(-1)

    model.head.loss = flat
    ids = evenly_spaced(len(modality.validation), 400)
    loss, units, *_ = masked_sums(model, modality.validation, fixed_masks(modality._plan()), ids).sum(1)
    assert yardstick["patch mean"] == pytest.approx(loss / units, rel=1e-5)
    batch = modality.validation.batch(np.arange(len(modality.validation)))
    hidden = hidden_patches(fixed_masks(modality._plan()), batch)
    train, _ = modality._parts
    target = normalised if normalise else lambda values: values
    mean = target(train.batch(np.arange(len(train))).values).mean(0)
    direct = (mean - target(batch.values)).square().mean(-1)[hidden].mean().item()
    assert yardstick["mean image"] == pytest.approx(direct, rel=1e-4)


def test_a_restored_image_uses_nothing_of_the_hidden_patches(tmp_path):
    config = gradients(tmp_path)
    modality = ImageModality(config)
    model = build_model(config, modality)
    batch = modality.validation.batch(evenly_spaced(len(modality.validation), 4))
    masks = fixed_masks(modality._plan(), 0.5)
    hidden = hidden_patches(masks, batch)
    changed = replace(batch, values=torch.where(hidden[..., None], torch.rand_like(batch.values), batch.values))
    for one, other in zip(
        reconstruct(model, batch, masks, normalised=True),
        reconstruct(model, changed, masks, normalised=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one[~hidden], batch.values[~hidden])
        assert one.min() >= 0
        assert one.max() <= 1


@pytest.mark.long
def test_a_run_leaves_two_pictures_and_reads_labelled_images(folder, tmp_path, plots):
    config = gradients(tmp_path)
    config = replace(config, data=ImageConfig(paths=(str(folder),), patch=2), validate_every=3)
    pretrain(config, tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").glob("held_out*")) == ["held_out-best.png", "held_out-last.png"]
    with Image.open(tmp_path / "run" / "held_out-last.png") as picture:
        assert np.asarray(picture).std() > 1
    data = json.loads((tmp_path / "run" / "summary.json").read_text())["data"]
    assert (data["training_images"], data["held_out_images"]) == (4, 1)
    trained = load(tmp_path / "run", device="cpu")
    again = trained.modality.read(folder)
    assert isinstance(again, LabelledSource)
    assert again.labels.tolist() == [0, 0, 0, 1, 1]
    save(tmp_path / "other" / "a.png", digits(4, 4))
    with pytest.raises(DataError, match="the model takes images of 8 x 8 with 1 channel, got 4 x 4 with 1 channel"):
        trained.modality.read(tmp_path / "other")
    (tmp_path / "run" / "image.json").write_text("{}")
    with pytest.raises(Exception, match="image.json: cannot read the shape of the images"):
        load(tmp_path / "run", device="cpu")


def corrupt_png(tmp_path):
    save(tmp_path / "set" / "good.png", digits(8, 8))
    save(tmp_path / "set" / "torn.png", digits(8, 8))
    whole = (tmp_path / "set" / "torn.png").read_bytes()
    (tmp_path / "set" / "torn.png").write_bytes(whole[: len(whole) - 40])


def no_image(tmp_path):
    save(tmp_path / "set" / "good.png", digits(8, 8))
    (tmp_path / "set" / "words.png").write_text("no image at all")


def mixed_sizes(tmp_path):
    save(tmp_path / "set" / "a.png", digits(8, 8))
    save(tmp_path / "set" / "b.png", digits(8, 12))


def mixed_channels(tmp_path):
    save(tmp_path / "set" / "a.png", digits(8, 8))
    save(tmp_path / "set" / "b.png", digits(8, 8, 3))


def deep(tmp_path):
    save(tmp_path / "set" / "a.png", np.zeros((8, 8), np.uint16))


def both_layouts(tmp_path):
    save(tmp_path / "set" / "a.png", digits(8, 8))
    save(tmp_path / "set" / "cat" / "b.png", digits(8, 8))


def empty(tmp_path):
    (tmp_path / "set").mkdir()


def one(tmp_path):
    save(tmp_path / "set" / "a.png", digits(8, 8))


def missing(tmp_path):
    pass


def odd(tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / "set" / name, digits(8, 10))


FOLDERS = {
    corrupt_png: "torn.png: cannot be decoded: ",
    no_image: "words.png: not an image that Pillow can read",
    mixed_sizes: "b.png: images must be of one size and kind, got 8 x 12 with 1 channel after 8 x 8 with 1 channel "
    "(a.png); --data.size",
    mixed_channels: "got 8 x 8 with 3 channels after 8 x 8 with 1 channel (a.png); --data.channels makes them alike",
    deep: "a.png: pixels must have 8 bits a channel, got Pillow mode I;16",
    both_layouts: "set: images must all be in subfolders, one a class, or all in the folder itself",
    empty: "set: no image in this folder",
    one: "there must be at least 2 images, one to train on and one to hold out, got 1",
    missing: "set: no such file or folder",
    odd: "--data.patch must divide height and width of the images, 8 x 10, got 4",
}


def refused(capsys, tmp_path, *argv):
    """Run a command that must fail: exit code 2, one line, nothing written."""
    code = main(["pretrain", "--modality", "image", *map(str, argv), "--out", str(tmp_path / "run"), *SIZES])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dnar2mae: ")]
    assert code == 2
    assert len(lines) == 1
    assert not (tmp_path / "run").exists()
    return lines[0]


@pytest.mark.parametrize("make", FOLDERS, ids=lambda make: make.__name__)
def test_bad_folders_are_refused_in_one_line(make, tmp_path, capsys):
    make(tmp_path)
    assert FOLDERS[make] in refused(capsys, tmp_path, tmp_path / "set")


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


NAN = np.zeros((3, 4, 4), np.float32)
NAN[1, 2, 2] = np.nan
BAD_FILES = {
    "nan.npy": (npy(NAN), "nan.npy: image 1: floating-point pixels must be in [0, 1], got NaN"),
    "range.npy": (npy(np.full((2, 4, 4), 255.0)), "image 0: floating-point pixels must be in [0, 1], got 255 to 255"),
    "axes.npy": (npy(digits(2, 3, 4, 4)), "with 1 or 3 channels, got [2, 3, 4, 4]"),
    "type.npy": (npy(np.zeros((2, 4, 4), np.int64)), "pixels must be uint8 or floating point, got int64"),
    "none.npy": (npy(digits(0, 4, 4)), "there must be at least one image"),
    "torn.npy": (npy(digits(9, 4, 4))[:-30], "torn.npy: not a .npy file of plain numbers"),
    "objects.npy": (npy(np.array([{}, {}])), "objects.npy: not a .npy file of plain numbers"),
    "count.npz": (
        npz(images=digits(3, 4, 4), labels=np.zeros(4)),
        "count.npz: labels: there must be one label an image, 3 for",
    ),
    "keys.npz": (npz(x=digits(3, 4, 4), y=np.zeros(3)), "--data.images-key must be one of x, y, got images"),
    "words.txt": (b"no images", "words.txt: neither a folder, nor .npy or .npz, nor an IDX file of unsigned bytes"),
    "short-idx3-ubyte": (idx(digits(2, 4, 4))[:-1], "its header says 32 bytes of data, got 31"),
    "torn.gz": (gzip.compress(idx(digits(2, 40, 40)))[:-20], "torn.gz: damaged gzip file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_in_one_line(name, tmp_path, capsys):
    content, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    assert message in refused(capsys, tmp_path, tmp_path / name)


def test_other_refusals(tmp_path, capsys):
    assert "no images given" in refused(capsys, tmp_path)
    (tmp_path / "t-images").write_bytes(idx(digits(3, 4, 4)))
    (tmp_path / "t-labels").write_bytes(idx(digits(2)))
    assert "t-labels: there must be one label an image, 3 for" in refused(capsys, tmp_path, tmp_path / "t-images")
    np.save(tmp_path / "a.npy", digits(3, 8, 8))
    np.save(tmp_path / "b.npy", digits(3, 4, 4))
    line = refused(capsys, tmp_path, tmp_path / "a.npy", tmp_path / "b.npy")
    assert "b.npy: images must be 8 x 8 with 1 channel as those of" in line
    assert "--data.size scales folders only" in refused(capsys, tmp_path, tmp_path / "a.npy", "--data.size", 4)
    line = refused(capsys, tmp_path, tmp_path / "a.npy", "--data.channels", 2)
    assert line == "dnar2mae: --data.channels must be 1 or 3, got 2"
    model = replace(PretrainConfig().model, width=18, heads=1)
    with pytest.raises(ConfigError, match="--model.width must be a multiple of 4 on images, got 18"):
        ImageModality(preset_for("image", replace(PretrainConfig(), model=model)))


def test_the_settings_need_no_torch():
    code = (
        "import sys\nfrom dnar2mae.modalities.registry import modality_spec\nmodality_spec('image')\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mnist_reads_with_its_labels(data):
    path = data / "images" / "t10k-images-idx3-ubyte.gz"
    images = open_images(Path(path), ImageConfig())
    assert images.shape == (28, 28, 1)
    assert images.classes == tuple("0123456789")
    assert (
        np.bincount(images.labels).tolist()
        == np.bincount(read_idx(path.with_name("t10k-labels-idx1-ubyte.gz"))).tolist()
    )


def test_a_folder_is_the_same_data_wherever_it_lies_and_whatever_fits_in_memory(folder, tmp_path):
    def found(path, memory_mb=1):
        data = ImageConfig(paths=(str(path),), memory_mb=memory_mb)
        return build_modality(tiny("image", data)).fingerprint()

    before = found(folder)
    (folder / "Thumbs.db").write_text("not an image")
    moved = folder.rename(tmp_path / "moved")
    assert found(moved) == found(moved, memory_mb=0) == before
    next(moved.rglob("*.png")).unlink()
    assert found(moved) != before
