import numpy as np
import pytest

from dnar2mae.cli import main
from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK
from dnar2mae.genome.store import Genome
from dnar2mae.genome.tracks import read_track
from dnar2mae.tracks.dependency import dependency_map
from dnar2mae.tracks.options import TrackOptions
from dnar2mae.tracks.quantities import quantity
from dnar2mae.tracks.region import plot_region, region_log_probabilities
from dnar2mae.tracks.write import tracks
from tests.tracks.test_summary import gene, gff
from tests.tracks.test_tracks import distribution


class TestRegion:
    def test_it_shows_the_values_of_the_track(self, single, small, tmp_path):
        genome, options = Genome.open(small), TrackOptions(genome=small)
        tracks(single, tmp_path / "t.bedgraph", options, progress=False)
        log_p = region_log_probabilities(single, genome, ("a", 40, 120), options)
        np.testing.assert_allclose(
            quantity("constraint", log_p, genome.codes("a", 40, 120) & np.uint8(SOFT_MASK - 1)),
            read_track(tmp_path / "t.bedgraph", genome).values("a", 40, 120),
            atol=1e-4,
        )

    def test_it_has_a_panel_a_track_the_genes_and_the_logo(self, single, small, tmp_path, monkeypatch):
        figures = []
        monkeypatch.setattr("dnar2mae.tracks.region.save_figure", lambda figure, path: figures.append(figure))
        lines = [("a", *rest) for _, *rest in gene(1, 30, 90, "+", (42, 81), exons=((30, 90),))]
        annotation = gff(tmp_path / "g.gff3", *lines)
        options = TrackOptions(genome=small, what=("constraint", "entropy"))
        plot_region(single, ("a", 40, 70), annotation, tmp_path / "r.png", options)
        plot_region(single, ("a", 100, 130), annotation, tmp_path / "r.png", options)  # no gene, and N
        plot_region(single, ("a", 40, 70), None, tmp_path / "r.png", options)
        panels = [[axes.get_ylabel() for axes in figure.axes] for figure in figures]
        assert panels[:2] == [["constraint (bits)", "entropy (bits)", "genes", "bits"]] * 2
        assert panels[2] == ["constraint (bits)", "entropy (bits)", "bits"]
        assert len(figures[0].axes[0].patches) == 30
        assert len(figures[0].axes[2].collections) == 3  # the gene, its exon, its coding part
        assert len(figures[1].axes[2].collections) == 0


class TestDependency:
    def test_it_is_the_largest_change_of_log_odds(self, single, small):
        genome, period = Genome.open(small), 8
        effects = dependency_map(single, genome, ("a", 30, 42), TrackOptions(genome=small))
        assert effects.shape == (12, 12)
        assert np.isnan(np.diag(effects)).all()
        left = 36 - 32
        codes = genome.codes("a", left, left + 64)
        for i, j in ((2, 5), (5, 2), (0, 11)):

            def odds(base, i=i, j=j):
                changed = codes.copy()
                changed[30 - left + i] = base
                p = distribution(single, changed, 30 - left + j, period, left)
                return np.log2(p / (1 - p))

            reference = odds(codes[30 - left + i])
            expected = max(np.abs(odds(base) - reference).max() for base in range(4))
            assert effects[i, j] == pytest.approx(expected, rel=1e-3, abs=1e-4)

    def test_the_substituted_base_is_seen_where_the_pattern_would_mask_it(self, single, small):
        effects = dependency_map(single, Genome.open(small), ("a", 30, 42), TrackOptions(genome=small))
        assert effects[0, 8] > 1e-3

    def test_an_unknown_base_has_no_effect_to_show(self, single, small):
        effects = dependency_map(single, Genome.open(small), ("a", 97, 103), TrackOptions(genome=small))
        assert np.isnan(effects[3:]).all()
        assert np.isnan(effects[:, 3:]).all()
        assert np.isfinite(effects[0, 1:3]).all()

    def test_a_region_longer_than_a_window_is_refused(self, single, small):
        with pytest.raises(ConfigError, match="--region must fit into a window of 64 bp, got 65"):
            dependency_map(single, Genome.open(small), ("a", 0, 65), TrackOptions(genome=small))


@pytest.mark.parametrize("kind", ["region", "dependency"])
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_commands_draw(kind, suffix, run, small, tmp_path, capsys):
    out = tmp_path / f"figure{suffix}"
    line = ["plot", kind, str(run), "--genome", str(small), "--region", "a:90-110", "--out", str(out)]
    assert main([*line, "--device", "cpu"]) == 0
    assert f"Wrote {out}" in capsys.readouterr().out
    assert out.stat().st_size > 5_000
