"""What a .tflite says it was made from is a name to compare, never one to import or to open."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.parity.reference import SourceRequest
from converters.parity.verify import verify_model
from evit_mobile.cli.main import main
from evit_mobile.errors import RequestError

FACTORIES = ["os:abort", "sys:exit", "stranger_module:build", "os.path:join", ":", "antigravity:x"]


@pytest.fixture
def folder_with_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a module that leaves a file where it is imported."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "stranger_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("model", FACTORIES)
def test_a_factory_is_not_imported_on_a_files_word(
    described: Callable[..., Path],
    folder_with_a_module: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
) -> None:
    path = described(model=model)
    before = set(sys.modules)
    for command in (["verify"], ["inspect"], ["verify", "--model", "base-r192"]):
        with pytest.raises(SystemExit) as ended:
            main([command[0], str(path), *command[1:]])
        err = capsys.readouterr().err
        assert ended.value.code == (0 if command == ["inspect"] else 2), err
        if command == ["verify"]:
            assert "not imported on a file's word" in err and "--model" in err
    assert not (tmp_path / "ran").exists()
    assert not {"stranger_module", "antigravity"} & (set(sys.modules) - before)
    assert str(folder_with_a_module) not in sys.path


def test_nor_for_its_page(
    described: Callable[..., Path], folder_with_a_module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is written all the same, and says why there is no parity on it."""
    path = described(model="stranger_module:build")
    with pytest.raises(SystemExit) as ended:
        main(["report", str(path), "--out", str(tmp_path / "page.html")])
    assert ended.value.code == 0, capsys.readouterr().err
    assert "not imported on a file" in (tmp_path / "page.html").read_text() and not (tmp_path / "ran").exists()


def test_a_factory_that_the_caller_names_is_imported(described: Callable[..., Path], tmp_path: Path) -> None:
    """The other side: with --model the same file gets as far as the import."""
    with pytest.raises(RequestError, match="no_such_module"):
        verify_model(described(model="no_such_module:build"), SourceRequest(model="no_such_module:build"))


def test_an_onnx_file_is_not_opened_on_a_files_word(described: Callable[..., Path], tmp_path: Path) -> None:
    """A FIFO would never answer; it stands for any path."""
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(RequestError, match="not opened on a file's word"):
        verify_model(described(model=str(tmp_path / "net.onnx")))
    with pytest.raises(RequestError, match="was made from an ONNX file"):
        verify_model(described(model=str(tmp_path / "net.onnx"), onnx_sha256="0" * 64))


def test_a_models_name_reaches_no_path(described: Callable[..., Path], tmp_path: Path) -> None:
    """Names of ours and of timm are looked up in tables."""
    for name in ("../../etc/passwd", "timm:hf-hub:stranger/model", "timm:local-dir:/tmp", "timm:resnet18.stranger"):
        with pytest.raises(RequestError, match="model|resnet18"):
            verify_model(described(model=name))
