"""The cache of compiled kernels: never older than the source it stands on."""

from tasks.engines.builtin import kernels


def test_a_kernel_is_stale_when_a_module_that_it_imports_changes(tmp_path, monkeypatch):
    inner, outer, other = (tmp_path / name for name in ("inner.py", "outer.py", "other.py"))
    inner.write_text("X = 1\n")
    outer.write_text("from tasks.engines.builtin.inner import X\n")
    other.write_text("Y = 1\n")
    monkeypatch.setattr(kernels, "_PACKAGE", tmp_path)
    stamp = kernels._stamp_of_sources.__wrapped__
    before = stamp(outer)

    other.write_text("Y = 2\n")
    assert stamp(outer) == before
    inner.write_text("X = 2\n")
    assert stamp(outer) != before
