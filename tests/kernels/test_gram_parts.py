"""Parts of a kernel matrix in files of their own: put together they are the matrix of one job, to the bit."""

import errno
import os
import warnings
import zipfile

import numpy as np
import pytest

from convrfm.errors import ConvRFMWarning, InputError, NonFiniteError, StorageError
from convrfm.kernels import CNTK, PatchLaplace, cpu
from convrfm.kernels.backends import gram_tiles
from convrfm.kernels.gram_file import share_of_tiles
from kernels.cases import random_images, random_metric

KERNEL = CNTK(depth=2, memory=1)  # the smallest tiles
KERNELS = [KERNEL, PatchLaplace(bandwidth=2.0, patch_size=3, memory=1)]


@pytest.fixture
def x(rng):
    return random_images(rng, 70, 1, 6, 6).astype(np.float32)


@pytest.fixture
def computed(monkeypatch):
    """Images on both sides of each tile that is computed, less the entry that tells the dtype."""
    original, seen = cpu.gram_tile, []

    def tile(left, right, spec):
        if len(left) > 1:
            seen.append((len(left), None if right is None else len(right)))
        return original(left, right, spec)

    monkeypatch.setattr(cpu, "gram_tile", tile)
    return seen


def interrupted(left, right, spec):
    """A tile that never comes; the entry that tells the dtype does."""
    if len(left) > 1:
        raise KeyboardInterrupt
    return np.zeros((1, 1), np.float32)


def fill(kernel, path, count, left, right=None, metric=None, but=()):
    """All parts, in an order of no meaning, but for some."""
    files = {}
    for index in sorted(range(count), key=lambda i: (i * 7) % 5):
        if index not in but:
            files[index] = kernel.gram(left, right, metric, out=path, part=(index, count))
    return files


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_shares_hold_each_tile_once_and_the_same_work(symmetric, count):
    tiles = gram_tiles(95, 95 if symmetric else 61, 8, symmetric)
    shares = [share_of_tiles(tiles, (index, count), symmetric=symmetric) for index in range(count)]
    assert sorted(number for share in shares for number in share) == list(range(len(tiles)))
    work = [
        sum(
            (tile.rows.stop - tile.rows.start) * (tile.columns.stop - tile.columns.start)
            / (2 if symmetric and tile.rows == tile.columns else 1)
            for tile in (tiles[number] for number in share)
        )
        for share in shares
    ]  # fmt: skip
    assert max(work) - min(work) <= 2 * 8 * 8


@pytest.mark.parametrize("kernel", KERNELS, ids=["CNTK", "Laplace"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_bits_are_those_of_one_job(x, rng, tmp_path, computed, kernel, dtype, symmetric, count):
    metric = random_metric(rng, 9)
    left, right = x.astype(dtype), None if symmetric else x[:33].astype(dtype)
    expected = kernel.gram(left, right, metric, out=tmp_path / "whole.npy")
    tiles = len(computed)
    computed.clear()
    path = tmp_path / "parts" / "gram.npy"
    files = fill(kernel, path, count, left, right, metric)
    assert len(computed) == tiles  # each tile once
    assert sorted(files.values()) == sorted(path.parent.iterdir())
    assert files[0].name == f"gram.part-0-of-{count}.npz"
    computed.clear()
    gram = kernel.gram(left, right, metric, out=path)
    assert not computed
    assert gram.dtype == dtype
    assert gram.tobytes() == expected.tobytes()
    assert list(path.parent.iterdir()) == [path]


def test_what_is_missing_is_computed(x, tmp_path, computed):
    path = tmp_path / "gram.npy"
    expected = KERNEL.gram(x).tobytes()
    fill(KERNEL, path, 3, x, but=(1,))
    # Of another count: some tiles are in two parts.
    KERNEL.gram(x, out=path, part=(0, 2))
    computed.clear()
    assert KERNEL.gram(x, out=path).tobytes() == expected
    assert 0 < len(computed) < 6
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_part_costs_nothing(x, tmp_path, computed):
    path = tmp_path / "gram.npy"
    file = KERNEL.gram(x, out=path, part=(1, 3))
    content, before = file.read_bytes(), len(computed)
    assert KERNEL.gram(x, out=path, part=(1, 3)) == file
    assert len(computed) == before
    assert file.read_bytes() == content


def test_an_interrupted_part_goes_on(x, tmp_path, monkeypatch):
    path = tmp_path / "gram.npy"
    original, left_to_do = cpu.gram_tile, [3]

    def failing(left, right, spec):
        if left_to_do[0] == 0:
            raise KeyboardInterrupt
        left_to_do[0] -= 1
        return original(left, right, spec)

    monkeypatch.setattr(cpu, "gram_tile", failing)
    with pytest.raises(KeyboardInterrupt):
        KERNEL.gram(x, out=path, part=(0, 2))
    assert [file.name for file in tmp_path.iterdir()] == ["gram.part-0-of-2.npz.partial"]
    left_to_do[0] = 3  # 15 tiles in all, 6 in this part
    KERNEL.gram(x, out=path, part=(0, 2))
    assert left_to_do == [0]
    assert [file.name for file in tmp_path.iterdir()] == ["gram.part-0-of-2.npz"]
    monkeypatch.undo()
    assert KERNEL.gram(x, out=path).tobytes() == KERNEL.gram(x).tobytes()


def test_an_interrupted_assembly_goes_on(x, tmp_path, monkeypatch):
    path = tmp_path / "gram.npy"
    fill(KERNEL, path, 3, x, but=(2,))
    with monkeypatch.context() as patch:
        patch.setattr(cpu, "gram_tile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            KERNEL.gram(x, out=path)
    assert len(list(tmp_path.iterdir())) == 4  # the parts stay until the matrix is complete
    assert KERNEL.gram(x, out=path).tobytes() == KERNEL.gram(x).tobytes()


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_part_is_computed_again(x, tmp_path, seed):
    """A byte that has changed anywhere, or a file that has been cut off, is seen, or changes nothing."""
    rng = np.random.default_rng(seed)
    path = tmp_path / "gram.npy"
    expected = KERNEL.gram(x).tobytes()
    files = fill(KERNEL, path, 3, x)
    content = bytearray(files[1].read_bytes())
    place = int(rng.integers(len(content)))
    if seed % 4 == 0:
        content = content[:place]
    else:
        content[place] ^= 1 << int(rng.integers(8))
    files[1].write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gram = KERNEL.gram(x, out=path)
    # Of damage to what nobody reads, such as the date of a file in an archive, nothing is said.
    assert {warning.category for warning in caught} <= {ConvRFMWarning}
    assert caught or seed % 4
    assert gram.tobytes() == expected
    assert list(tmp_path.iterdir()) == [path]


def test_damage_to_entries_is_said(x, tmp_path, computed):
    path = tmp_path / "gram.npy"
    file = fill(KERNEL, path, 3, x)[1]
    with zipfile.ZipFile(file) as archive:
        last = archive.infolist()[-1]
    content = bytearray(file.read_bytes())
    content[last.header_offset + 300] ^= 1
    file.write_bytes(content)
    computed.clear()
    with pytest.warns(ConvRFMWarning, match=r"gram\.part-1-of-3\.npz is damaged"):
        assert KERNEL.gram(x, out=path).tobytes() == KERNEL.gram(x).tobytes()
    computed.clear()
    file.write_bytes(content)
    with pytest.warns(ConvRFMWarning, match=r"gram\.part-1-of-3\.npz is damaged"):
        KERNEL.gram(x, out=path, part=(1, 3))
    assert len(computed) > 2
    assert file.read_bytes() != content


def test_a_part_that_was_killed_while_it_wrote_starts_over(x, tmp_path):
    path = tmp_path / "gram.npy"
    file = KERNEL.gram(x, out=path, part=(1, 3))
    whole = file.read_bytes()
    partial = file.with_name(f"{file.name}.partial")
    file.rename(partial)
    partial.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(ConvRFMWarning, match=r"npz\.partial is damaged"):
        assert KERNEL.gram(x, out=path, part=(1, 3)) == file
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(KERNEL.gram(x, out=path, part=(1, 3))) as again:
        assert archive.testzip() is None
        assert archive.namelist() == again.namelist()


def test_parts_of_another_matrix_are_refused(x, rng, tmp_path):
    path = tmp_path / "gram.npy"
    file = KERNEL.gram(x, out=path, part=(0, 2))
    changed = x.copy()
    changed[3, 0, 2, 2] += 1
    others = (
        (KERNEL, changed, None, None), (CNTK(depth=1), x, None, None), (KERNEL, x, None, np.eye(9)),
        (KERNEL, x, x[:5], None), (CNTK(depth=2, backend="reference"), x, None, None),
    )  # fmt: skip
    for kernel, left, right, metric in others:
        for part in (None, (0, 2)):
            with pytest.raises(StorageError, match=r"gram\.part-0-of-2\.npz belongs to another kernel matrix"):
                kernel.gram(left, right, metric, out=path, part=part)
    assert list(tmp_path.iterdir()) == [file]
    file.rename(file.with_name(f"{file.name}.partial"))
    with pytest.raises(StorageError, match=r"npz\.partial belongs to another kernel matrix"):
        KERNEL.gram(changed, out=path, part=(0, 2))
    # Under other names they are in nobody's way.
    assert (KERNEL.gram(changed, out=tmp_path / "other.npy") == KERNEL.gram(changed)).all()


def test_the_side_of_the_parts_counts(x, tmp_path):
    """Another budget, and so another side, in the call that puts them together."""
    path = tmp_path / "gram.npy"
    large = CNTK(depth=2, memory=2**20)
    expected = large.gram(x, out=tmp_path / "whole.npy").tobytes()
    fill(large, path, 2, x, but=(1,))
    assert KERNEL.gram(x, out=path).tobytes() == expected
    KERNEL.gram(x, out=path, part=(0, 2))
    large.gram(x, out=path, part=(1, 2))
    with pytest.raises(StorageError, match=r"part-0-of-2\.npz has tiles of 16 images, and .*part-1-of-2\.npz of \d+"):
        KERNEL.gram(x, out=path)


def test_parts_beside_a_matrix_with_another_side_that_was_begun(x, tmp_path, monkeypatch):
    path = tmp_path / "gram.npy"
    with monkeypatch.context() as patch:
        patch.setattr(cpu, "gram_tile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            KERNEL.gram(x, out=path)
    CNTK(depth=2, memory=2**20).gram(x, out=path, part=(0, 2))
    with pytest.raises(StorageError, match=r"npy\.partial has tiles of 16 images"):
        KERNEL.gram(x, out=path)


@pytest.mark.parametrize("symmetric", [True, False])
def test_tiles_are_halved_where_memory_runs_out(x, tmp_path, monkeypatch, symmetric):
    original = cpu.gram_tile

    def failing(left, right, spec):
        if len(left) * len(left if right is None else right) > 300:
            raise MemoryError
        return original(left, right, spec)

    kernel, right = CNTK(depth=2), None if symmetric else x[:33]
    expected = kernel.gram(x, right)
    monkeypatch.setattr(cpu, "gram_tile", failing)
    monkeypatch.setattr(cpu, "gram_side", lambda *_: 32)
    halved = kernel.gram(x, right)
    path = tmp_path / "gram.npy"
    fill(kernel, path, 2, x, right)
    gram = kernel.gram(x, right, out=path)
    np.testing.assert_allclose(gram, expected, rtol=1e-6)
    np.testing.assert_array_equal(gram, halved)


def test_a_full_disk(x, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(StorageError, match=r"part-0-of-2.*the disk is full"):
        KERNEL.gram(x, out=tmp_path / "gram.npy", part=(0, 2))


def test_entries_that_are_not_finite(x, tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "gram_tile", lambda left, *_: np.full((len(left), len(left)), np.inf, np.float32))
    with pytest.raises(NonFiniteError, match=r"The tile of gram\.npy"):
        KERNEL.gram(x, out=tmp_path / "gram.npy", part=(0, 1))
    assert not (tmp_path / "gram.part-0-of-1.npz").exists()


@pytest.mark.parametrize("part", [3, (1,), (0, 1, 2), "01", (2, 2), (-1, 2), (0, 0), (0.0, 2), (True, 2), (None, None)])
def test_what_is_no_part(x, tmp_path, part):
    with pytest.raises(InputError, match="part must be two integers"):
        KERNEL.gram(x, out=tmp_path / "gram.npy", part=part)
    assert not list(tmp_path.iterdir())


def test_a_part_needs_a_file(x):
    with pytest.raises(InputError, match="part needs out"):
        KERNEL.gram(x, part=(0, 2))
    with pytest.raises(InputError, match="npy"):
        KERNEL.gram(x, out="gram.csv", part=(0, 2))
