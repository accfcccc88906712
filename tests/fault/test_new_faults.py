"""mlmake new on a disk that fails at every place where it can: nothing is left behind, and a second call works."""
import pytest

from conftest import BUILD


@pytest.mark.parametrize("existing", [False, True], ids=["new directory", "empty directory"])
@pytest.mark.parametrize("fault", ["openat:EMFILE", "write:ENOSPC", "mkdirat:ENOSPC", "renameat:EIO"])
def test_nothing_is_left(box, existing, fault):
    program = BUILD / "mlmake-fault"
    if not program.exists():
        pytest.fail("make fault builds build/mlmake-fault, which this needs")
    for number in range(1, 100):
        directory = box.path / "work" / "p"
        if existing:
            directory.mkdir(parents=True, exist_ok=True)
        result = box.run(program, "new", "tabular", "work/p", MLMAKE_FAULT=f"{fault}:{number}")
        if result.returncode == 0:
            break
        assert result.returncode == 1 and "work" in result.stderr
        assert list(directory.iterdir()) == [] if existing else not directory.exists()
    assert number > 1, "the fault never struck"
    assert (directory / "tests" / "test_data.py").exists()
