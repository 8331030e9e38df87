"""The folder of a built genome: read again, repaired, and not shared with others."""

import errno
import multiprocessing
import os
import pickle
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dnar2mae.errors import RunError, SequenceError
from dnar2mae.genome import build, store
from dnar2mae.genome.alphabet import decode
from dnar2mae.genome.store import Genome
from dnar2mae.storage.safe_files import write_checksums

from ..damage import flip_bit
from .helpers import genome_of, random_bases, write_fasta


def cache_root() -> Path:
    return Path(os.environ["DNAR2MAE_CACHE"]) / "genomes"


def left_behind() -> list[str]:
    return [entry.name for entry in cache_root().iterdir()] if cache_root().exists() else []


class TestCache:
    def test_read_once_until_the_source_changes(self, tmp_path):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        before = Genome.open(path)
        inode = (before._folder / "bases.u8").stat().st_ino
        assert (Genome.open(path)._folder / "bases.u8").stat().st_ino == inode
        write_fasta(path, {"a": "ACGTT"})
        after = Genome.open(path)
        assert after.fetch("a", 0, 5) == "ACGTT"
        assert before.fetch("a", 0, 4) == "ACGT"  # the old map stays whole
        status = path.stat()
        write_fasta(path, {"a": "TTTTT"})
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert Genome.open(path).fetch("a", 0, 5) == "TTTTT"
        assert len(left_behind()) == 1

    @pytest.mark.parametrize("damage", ["bases", "bit", "index", "fields", "runs", "gone", "sums"])
    def test_damage_is_repaired(self, tmp_path, damage):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGTNNA"})
        folder = Genome.open(path)._folder
        index = folder / "index.json"
        match damage:
            case "bases":
                (folder / "bases.u8").write_bytes(b"\0\0")
            case "bit":
                flip_bit(folder / "bases.u8", 13)
            case "index":
                index.write_text(index.read_text()[:20])
            case "fields":
                index.write_text("[]")
            case "runs":
                (folder / "n_runs.npy").write_bytes(b"")
            case "gone":
                index.unlink()
            case "sums":
                flip_bit(folder / "SHA256SUMS", 100)
        with pytest.warns(UserWarning, match=r"damaged cache \(.*\); building it anew"):
            assert Genome.open(path).fetch("a", 0, 7) == "ACGTNNA"
        assert Genome.open(path)._folder == folder  # without a warning

    def test_another_format_is_built_anew(self, tmp_path):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGTNNA"})
        folder = Genome.open(path)._folder
        index = folder / "index.json"
        index.write_text(index.read_text().replace(f'"format": {build.FORMAT}', '"format": 0'))
        write_checksums(folder)
        assert build.GenomeIndex.load(folder) is None
        Genome.open(path)
        assert build.GenomeIndex.load(folder) is not None

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
    @pytest.mark.parametrize(
        ("how", "message"),
        [
            ("owner", r"bases.u8 belongs to another user \(uid 12345\), so this cache is not used"),
            ("link", "bases.u8 is a link, so"),
            ("mode", r"other users may write to .*a.fa-\w+ \(chmod go-w ends that\), so"),
            ("file", "other users may write to .*bases.u8 .*, so"),
            ("group", "other users may write to .*bases.u8 .*, so"),
            ("parent", "other users may write to .*genomes .*, so"),
            ("parent's group", "other users may write to .*genomes .*, so"),
            ("parent's owner", r"genomes belongs to another user \(uid 12345\), so"),
        ],
    )
    def test_what_others_may_have_made_is_not_used(self, tmp_path, monkeypatch, how, message):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        folder = Genome.open(path)._folder
        bases = folder / "bases.u8"
        match how:
            case "owner" if os.geteuid() == 0:
                os.chown(bases, 12345, -1)
            case "owner":
                monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
                message = "belongs to another user"
            case "link":
                bases.rename(tmp_path / "elsewhere")
                bases.symlink_to(tmp_path / "elsewhere")
            case "mode":
                folder.chmod(0o777)
            case "file":
                folder.chmod(0o755)
                bases.chmod(0o666)
            case "group":
                folder.chmod(0o750)
                bases.chmod(0o660)
            case "parent":
                folder.parent.chmod(0o777)
            case "parent's group":
                folder.parent.chmod(0o770)
            case "parent's owner" if os.geteuid() == 0:
                os.chown(folder.parent, 12345, -1)
            case "parent's owner":
                pytest.skip("needs root")
        with pytest.raises(RunError, match=message):
            Genome.open(path)

    @pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
    def test_a_cache_is_its_users_own_under_any_umask(self, tmp_path, umask):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        before = os.umask(umask)
        try:
            folder = Genome.open(path)._folder
            folder.chmod(0o755)  # to let others read
            assert Genome.open(path)._folder == folder
        finally:
            os.umask(before)

    def test_write_bits_count_only_where_others_may_enter(self, tmp_path):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        bases = Genome.open(path)._folder / "bases.u8"
        bases.chmod(0o664)
        inode = bases.stat().st_ino
        assert Genome.open(path).fetch("a", 0, 4) == "ACGT"
        assert bases.stat().st_ino == inode, "used as it was, not built anew"

    def test_a_file_in_the_place_of_the_folder(self, tmp_path):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        folder = Genome.open(path)._folder
        for part in folder.iterdir():
            part.unlink()
        folder.rmdir()
        folder.mkdir()
        (folder / "else").mkdir()
        with pytest.warns(UserWarning, match="SHA256SUMS is missing"):
            assert Genome.open(path).fetch("a", 0, 4) == "ACGT"

    @pytest.mark.parametrize("locks", [True, False])
    def test_what_killed_builds_left_is_removed(self, tmp_path, monkeypatch, locks):
        """Of this machine at once, where the lock shows that nobody builds; of others after a day."""
        if not locks:
            monkeypatch.setitem(sys.modules, "fcntl", None)
        stale, fresh, own = (cache_root() / f"x.building-{n}-1" for n in ("elsewhere", "elsewhere2", platform.node()))
        for folder in (stale, fresh, own):
            folder.mkdir(parents=True)
        os.utime(stale, (0, 0))
        genome_of(tmp_path, "ACGT")
        assert (stale.exists(), fresh.exists(), own.exists()) == (False, True, not locks)

    def test_a_killed_build_leaves_nothing_for_long(self, tmp_path):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        code = (
            "import os, sys\nfrom dnar2mae.genome import build, store\n"
            "build.sync = lambda file: os._exit(9)\nstore.Genome.open(sys.argv[1])\n"
        )
        for _ in range(2):
            assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 9
            assert len(left_behind()) == 1
        Genome.open(path)
        assert len(left_behind()) == 1
        assert "building" not in left_behind()[0]

    @pytest.mark.parametrize("locks", [True, False])
    def test_concurrent_builds(self, tmp_path, locks):
        sequence = random_bases(np.random.default_rng(0), 300_000)
        path = write_fasta(tmp_path / "a.fa", {"a": sequence})
        with multiprocessing.get_context("spawn").Pool(3) as pool:
            found = pool.starmap(_read_all, [(path, locks)] * 6)
        assert found == [sequence] * 6
        assert len(left_behind()) == 1

    def test_pickle(self, tmp_path):
        genome = genome_of(tmp_path, "ACGTN")
        copy = pickle.loads(pickle.dumps(genome))
        assert copy.fetch("chr1", 0, 5) == "ACGTN"
        assert copy.n_runs.tolist() == [[4, 5]]
        text = pickle.dumps(genome)
        genome_of(tmp_path, "ACGTNN")
        with pytest.raises(SequenceError, match="removed or rebuilt during the run"):
            pickle.loads(text)

    def test_cache_folder_of_ones_own(self, tmp_path):
        path = write_fasta(tmp_path / "a.fa", {"a": "ACGT"})
        genome = Genome.open(path, cache_dir=tmp_path / "mine")
        assert tmp_path / "mine" in genome._folder.parents
        assert left_behind() == []

    def test_pages_are_given_back(self, tmp_path, monkeypatch):
        monkeypatch.setattr(store, "_RESIDENT_BYTES", 1 << 17)
        sequence = random_bases(np.random.default_rng(0), 200_000)
        genome = genome_of(tmp_path, sequence)
        starts = np.arange(0, 190_000, 1000)
        rows = genome.windows(starts, 10)
        assert [decode(row) for row in rows] == [sequence[s : s + 10] for s in starts]
        assert genome.fetch("chr1", 0, 200_000) == sequence


def _read_all(path, locks):
    if not locks:
        import fcntl

        def no_locks(*_):
            raise OSError(errno.ENOLCK, "no locks")

        fcntl.flock = no_locks
    return Genome.open(path).fetch("a", 0, 300_000)
