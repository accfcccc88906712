"""The files that unit tests compare with were made by dvc; the dvc at hand makes the same ones."""
import pathlib

import pytest

from conftest import ROOT, need_peer

UNIT = ROOT / "tests" / "unit" / "formats"


@pytest.mark.slow
@pytest.mark.parametrize("script, made", [("make_yaml_style.py", "yaml_style.json"), ("make_dvc_made.py", "dvc_made.json")])
def test_dvc_still_makes_them(box, script, made):
    python = pathlib.Path(need_peer("dvc")).with_name("python")
    result = box.run(python, UNIT / script, check=0)
    assert result.stdout == (UNIT / made).read_text()
