"""The example's jobs: what one key signs another ring refuses, and a secret is a file before it is a variable."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SHOP = Path(__file__).resolve().parents[3] / "examples/shop/app"


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("jobs", SHOP / "jobs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    return module


def test_a_ring_verifies_what_any_of_its_keys_signed(jobs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "job-key").write_text("new\n")
    (tmp_path / f"job-key.{'a' * 32}").write_text("old")
    assert jobs.ring("job-key") == ["new", "old"]
    for key, good in (("new", True), ("old", True), ("other", False)):
        job, message = jobs.signed(key, "text")
        assert jobs.verified(jobs.ring("job-key"), message) == (job, good)


def test_a_secret_is_a_file_first(jobs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="job-key is missing"):
        jobs.secret("job-key")
    monkeypatch.setenv("JOB_KEY", "variable")
    assert jobs.secret("job-key") == "variable"
    (tmp_path / "job-key").write_text("file\n")
    assert jobs.secret("job-key") == "file"
