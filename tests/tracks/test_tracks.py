import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae.cli import main
from dnar2mae.config import ModelConfig
from dnar2mae.errors import ConfigError, RunError, SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK
from dnar2mae.genome.bed import read_bed
from dnar2mae.genome.store import Genome
from dnar2mae.genome.tracks import read_track
from dnar2mae.genome.window_layout import lay_windows
from dnar2mae.inference import Model
from dnar2mae.tracks import write
from dnar2mae.tracks.options import TrackOptions
from dnar2mae.tracks.write import tracks
from tests.random_run import write_run
from tests.variants.helpers import CNN

WHATS = ("entropy", "reference-probability", "constraint")
COMPLEMENT = [3, 2, 1, 0, 4]


def values(path, genome):
    track = read_track(path, genome)
    return {name: track.values(name, 0, int(length)) for name, length in zip(genome.names, genome.lengths, strict=True)}


@torch.inference_mode()
def distribution(model, codes, at, period, phase):
    """The mean over strands of what the model predicts at a place, every n-th known base masked; by whole passes."""
    both = []
    for strand in (codes, np.array([COMPLEMENT[code] for code in codes[::-1]], np.uint8)):
        ids = torch.from_numpy(model.tokenizer.encode(strand)).long()[None]
        place = at if strand is codes else len(codes) - 1 - at
        for other in range(len(codes)):
            coordinate = phase + (other if strand is codes else len(codes) - 1 - other)
            if coordinate % period == (phase + at) % period and strand[other] < 4:
                ids[0, other] = model.tokenizer.vocabulary.mask_id
        p = model.module.logits(model.module(ids))[0, place, model.module.vocabulary.real].softmax(-1).double().numpy()
        both.append(p if strand is codes else p[::-1])
    return np.mean(both, axis=0)


class TestWindows:
    def test_each_base_is_in_the_middle_of_one_window(self, small):
        genome = Genome.open(small)
        windows = lay_windows(genome, genome.intervals, 64, 0.25)
        np.testing.assert_array_equal(
            windows.extents[:5], [[0, 64], [48, 112], [96, 160], [144, 208], [155, 219]]
        )  # the last one of a sequence ends with it
        np.testing.assert_array_equal(windows.pieces[:3], [[0, 56], [56, 104], [104, 152]])
        np.testing.assert_array_equal(windows.extents[5], [219, 249])  # a sequence shorter than a window
        assert windows.bases_before()[-1] == genome.total_bp
        covered = np.zeros(genome.total_bp, int)
        for start, end in windows.pieces:
            covered[start:end] += 1
        assert (covered == 1).all()

    @pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
    def test_a_piece_lies_in_its_window(self, small, overlap):
        genome = Genome.open(small)
        windows = lay_windows(genome, genome.intervals, 64, overlap)
        assert windows.bases_before()[-1] == genome.total_bp
        extents = windows.extents[np.searchsorted(windows.first, np.arange(len(windows.pieces)), side="right") - 1]
        assert (windows.pieces[:, 0] >= extents[:, 0]).all()
        assert (windows.pieces[:, 1] <= extents[:, 1]).all()

    def test_only_windows_that_regions_need_are_kept(self, small, tmp_path):
        genome = Genome.open(small)
        (tmp_path / "r.bed").write_text("a\t50\t60\nc\t1\t3\na\t61\t62\n")
        windows = lay_windows(genome, read_bed(tmp_path / "r.bed", [genome])[0], 64, 0.25)
        np.testing.assert_array_equal(windows.pieces, [[50, 56], [56, 60], [61, 62], [250, 252]])
        np.testing.assert_array_equal(windows.first, [0, 1, 3])
        np.testing.assert_array_equal(windows.bases_before(), [0, 6, 11, 13])


class TestValues:
    @pytest.mark.parametrize("ratio", [0.15, 0.125, 0.5, 0.0])
    def test_they_are_those_of_whole_passes(self, model, small, tmp_path, ratio):
        genome, period = Genome.open(small), round(1 / ratio) if ratio else 64
        written = tracks(
            model, tmp_path / "t.bedgraph", TrackOptions(genome=small, what=WHATS, pattern_ratio=ratio), progress=False
        )
        assert (written.bases, written.unknown, written.period) == (genome.total_bp, 9, period)
        of = {what: values(file, genome) for what, file in written.files.items()}
        for name, start, end, place in (("a", 48, 112, 70), ("a", 155, 219, 200), ("b", 0, 30, 0), ("c", 6, 70, 69)):
            codes = genome.codes(name, start, end) & np.uint8(SOFT_MASK - 1)
            p = distribution(model, codes, place - start, period, start)
            base = codes[place - start]
            others = np.delete(np.log2(p), base)
            expected = (-(p * np.log2(p)).sum(), p[base], (np.log2(p[base]) - others).mean())
            np.testing.assert_allclose([of[what][name][place] for what in WHATS], expected, rtol=2e-4, atol=2e-5)
        for what in WHATS:
            assert np.isnan(of[what]["a"][100:109]).all()  # N: no value, not zero
            assert np.isfinite(np.delete(of[what]["a"], range(100, 109))).all()
            everything = np.concatenate([*of[what].values()])
            assert written.means[what] == pytest.approx(np.nanmean(everything), rel=1e-5)

    def test_one_strand_differs(self, single, small, tmp_path):
        genome = Genome.open(small)
        both = tracks(single, tmp_path / "b.bedgraph", TrackOptions(genome=small), progress=False)
        one = tracks(single, tmp_path / "o.bedgraph", TrackOptions(genome=small, both_strands=False), progress=False)
        first, second = (values(written.files["constraint"], genome)["a"] for written in (both, one))
        assert np.nanmax(np.abs(first - second)) > 0.01

    def test_regions_have_the_values_of_the_whole_genome(self, single, small, tmp_path):
        genome = Genome.open(small)
        (tmp_path / "r.bed").write_text("a\t50\t120\nb\t3\t4\n")
        tracks(single, tmp_path / "all.bedgraph", TrackOptions(genome=small), progress=False)
        tracks(single, tmp_path / "r.bedgraph", TrackOptions(genome=small, bed=tmp_path / "r.bed"), progress=False)
        whole, part = (values(tmp_path / name, genome) for name in ("all.bedgraph", "r.bedgraph"))
        np.testing.assert_allclose(part["a"][50:120], whole["a"][50:120], atol=1e-4)
        np.testing.assert_allclose(part["b"][3:4], whole["b"][3:4], atol=1e-4)
        assert np.isfinite(part["a"]).sum() == 61
        assert np.isfinite(part["b"]).sum() == 1
        assert np.isnan(part["c"]).all()

    def test_case_makes_no_difference(self, single, small, tmp_path):
        upper = tmp_path / "upper.fa"
        upper.write_text(small.read_text().upper())
        tracks(single, tmp_path / "l.bedgraph", TrackOptions(genome=small), progress=False)
        tracks(single, tmp_path / "u.bedgraph", TrackOptions(genome=upper), progress=False)
        lower, higher = ((tmp_path / name).read_text() for name in ("l.bedgraph", "u.bedgraph"))
        assert lower == higher.replace("A\t", "a\t").replace("B\t", "b\t").replace("C\t", "c\t")

    def test_bigwig_reads_back_as_bedgraph(self, single, small, tmp_path):
        pytest.importorskip("pybigtools")
        genome = Genome.open(small)
        for name in ("t.bw", "t.bedgraph"):
            tracks(single, tmp_path / name, TrackOptions(genome=small), progress=False)
        one, other = (values(tmp_path / name, genome) for name in ("t.bw", "t.bedgraph"))
        for name in genome.names:
            np.testing.assert_array_equal(one[name], other[name])


class TestInterruption:
    @pytest.fixture
    def killed(self, single, small, tmp_path, monkeypatch):
        """A call that was killed in its third batch, after half of a window was written."""
        monkeypatch.setattr(write, "_AT_ONCE", 2)
        predict, calls = write.base_log_probabilities, []

        def counting(*args, **settings):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return predict(*args, **settings)

        with monkeypatch.context() as patch:
            patch.setattr(write, "base_log_probabilities", counting)
            with pytest.raises(KeyboardInterrupt):
                tracks(single, tmp_path / "t.bedgraph", TrackOptions(genome=small), progress=False)
        file = tmp_path / "t.bedgraph.partial" / "values.f32"
        file.write_bytes(file.read_bytes() + b"12345")
        return tmp_path / "t.bedgraph"

    def test_the_same_call_goes_on(self, killed, single, small, tmp_path):
        assert not killed.exists()
        written = tracks(single, killed, TrackOptions(genome=small), progress=False)
        assert written.computed < written.bases == 319
        tracks(single, tmp_path / "whole.bedgraph", TrackOptions(genome=small), progress=False)
        assert killed.read_text() == (tmp_path / "whole.bedgraph").read_text()
        assert not (tmp_path / "t.bedgraph.partial").exists()

    def test_other_settings_are_refused_unless_to_overwrite(self, killed, single, small):
        other = TrackOptions(genome=small, pattern_ratio=0.3)
        with pytest.raises(ConfigError, match=r"t\.bedgraph\.partial: left by a call with other settings"):
            tracks(single, killed, other, progress=False)
        written = tracks(single, killed, replace(other, overwrite=True), progress=False)
        assert written.computed == written.bases


class TestRefusals:
    def test_two_at_a_time_are_one_too_many(self, single, small, tmp_path, monkeypatch):
        arguments, compute = (single, tmp_path / "t.bedgraph", TrackOptions(genome=small)), write._compute

        def with_a_second_call(*args, **settings):
            with pytest.raises(ConfigError, match="another process is at it; wait for its end"):
                tracks(*arguments, progress=False)
            return compute(*args, **settings)

        monkeypatch.setattr(write, "_compute", with_a_second_call)
        assert tracks(*arguments, progress=False).bases == 319

    def test_what_exists_is_kept(self, single, small, tmp_path):
        (tmp_path / "t.entropy.bedgraph").touch()
        options = TrackOptions(genome=small, what=("entropy", "constraint"))
        with pytest.raises(ConfigError, match=r"t\.entropy\.bedgraph exists; give --overwrite"):
            tracks(single, tmp_path / "t.bedgraph", options, progress=False)
        tracks(single, tmp_path / "t.bedgraph", replace(options, overwrite=True), progress=False)
        assert (tmp_path / "t.entropy.bedgraph").stat().st_size

    def test_only_files_of_tracks_are_written(self, single, small, tmp_path):
        with pytest.raises(ConfigError, match=r"--out of a track must end in \.bw, \.bigwig, \.bedgraph, got .*t\.csv"):
            tracks(single, tmp_path / "t.csv", TrackOptions(genome=small), progress=False)

    def test_a_model_of_k_mers_is_refused(self, small, tmp_path):
        model = Model.from_pretrained(write_run(tmp_path / "k", CNN, 3, 1), device="cpu")
        with pytest.raises(ConfigError, match=r"tracks need a run on single bases \(--tokenizer.k 1\), got k = 3"):
            tracks(model, tmp_path / "t.bedgraph", TrackOptions(genome=small), progress=False)

    def test_a_model_of_the_other_objective_is_refused(self, small, tmp_path):
        layout = ModelConfig(width=16, depth=2, heads=2, mlp_width=16, objective="mae", decoder_width=16)
        model = Model.from_pretrained(write_run(tmp_path / "mae", layout), device="cpu")
        with pytest.raises(RunError, match="masked predictions need a model of --model.objective mlm, got mae"):
            tracks(model, tmp_path / "t.bedgraph", TrackOptions(genome=small), progress=False)

    def test_nothing_known_is_nothing_to_write(self, single, tmp_path):
        (tmp_path / "n.fa").write_text(f">n\n{'N' * 80}A\n")
        (tmp_path / "n.bed").write_text("n\t0\t80\n")
        with pytest.raises(SequenceError, match="no base has a value"):
            tracks(
                single,
                tmp_path / "t.bedgraph",
                TrackOptions(genome=tmp_path / "n.fa", bed=tmp_path / "n.bed"),
                progress=False,
            )
        assert not (tmp_path / "t.bedgraph.partial").exists()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"pattern_ratio": 0.6}, r"--pattern-ratio must be in \[0, 0.5\], got 0.6"),
            ({"overlap_share": 0.95}, r"--overlap-share must be in \[0, 0.9\], got 0.95"),
            ({"what": ("entropy", "entropy")}, "--what must be of entropy, .*, each once, got entropy entropy"),
        ],
    )
    def test_settings_out_of_range_are_refused(self, small, settings, message):
        with pytest.raises(ConfigError, match=message):
            TrackOptions(genome=small, **settings)


def test_the_command_prints_what_it_wrote(run, small, tmp_path, capsys):
    out = tmp_path / "t.bedgraph"
    assert main(["tracks", str(run), "--genome", str(small), "--out", str(out), "--device", "cpu"]) == 0
    assert "319 bases, 9 of them unknown; one of 8 masked at once" in capsys.readouterr().out
    assert main(["tracks", str(run), "--genome", str(small), "--out", str(out), "--device", "cpu"]) == 2
    assert "exists; give --overwrite" in capsys.readouterr().err
    line = ["tracks", str(run), "--genome", str(small), "--out", str(out), "--device", "cpu", "--overwrite", "--json"]
    assert main(line) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["bases"], printed["unknown"], printed["files"]) == (319, 9, {"constraint": str(out)})
