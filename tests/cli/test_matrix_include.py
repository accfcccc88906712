"""One declaration for many targets, many files for one graph."""


def test_a_new_value_runs_alone(box):
    box.write("mlmake.yaml", """\
targets:
  train:
    desc: seed ${matrix.seed}
    matrix: {seed: [1, 2]}
    outputs: ['m/${matrix.seed}']
    run: mkdir -p m; echo ${matrix.seed} > m/${matrix.seed}
  best:
    needs: [train]
    inputs: [m/*]
    outputs: [best]
    run: cat m/* > best
""")
    assert "(3 ran)" in box.mlmake("best").stderr
    assert (box.path / "best").read_text() == "1\n2\n"
    assert box.mlmake("list").stdout == "train  seed *  (2 instances: train@...)\nbest\n"
    assert "train@2" in box.mlmake("list", "-a").stdout
    box.write("mlmake.yaml", (box.path / "mlmake.yaml").read_text().replace("[1, 2]", "[1, 2, 3]"))
    result = box.mlmake("best")
    assert "(2 ran, 2 up to date)" in result.stderr and "train@3" in result.stderr
    assert (box.path / "best").read_text() == "1\n2\n3\n"
    assert "nothing to do" in box.mlmake("best").stderr
    (box.path / "m/2").unlink()
    assert "train@2" in box.mlmake("train@*", "-n").stdout
    assert "there is no target 'train@4'" in box.mlmake("train@4", check=2).stderr


def test_an_included_file_is_one_graph_with_the_rest(box):
    box.write("mlmake.yaml", """\
include: [services/api]
targets:
  all: {needs: ['api:test']}
  shared: {outputs: [shared.txt], run: echo shared > shared.txt}
""")
    box.write("services/api/mlmake.yaml", """\
targets:
  test:
    inputs: [src.txt, ../../shared.txt]
    outputs: [out.txt]
    run: cat src.txt ../../shared.txt > out.txt
""")
    box.write("services/api/src.txt", "src\n")
    assert "(2 ran)" in box.mlmake("all").stderr
    assert (box.path / "services/api/out.txt").read_text() == "src\nshared\n"
    assert "nothing to do" in box.mlmake("all").stderr
    assert "nothing to do" in box.mlmake("all").stderr  # from what was remembered
    included = box.path / "services/api/mlmake.yaml"
    included.write_text(included.read_text().replace("cat src.txt", "cat src.txt src.txt"))
    assert "api:test" in box.mlmake("all", "-n").stdout
    box.mlmake("all")
    assert (box.path / "services/api/out.txt").read_text() == "src\nsrc\nshared\n"
    included.write_text("targets:\n  test:\n    runn: x\n")
    result = box.mlmake("all", check=2)
    assert result.stderr.startswith("services/api/mlmake.yaml:3:5: error: unknown key 'runn'")


def test_since_knows_included_files(gitbox):
    gitbox.write("mlmake.yaml", "include: [sub]\ntargets:\n  top: {run: x, inputs: [mlmake.yaml]}\n")
    gitbox.write("sub/mlmake.yaml", "targets:\n  a: {run: x, inputs: [in]}\n  b: {run: x, inputs: [in]}\n")
    gitbox.write("sub/in", "")
    gitbox.git("add", "-A")
    gitbox.git("commit", "-qm", "one")
    gitbox.write("sub/mlmake.yaml", "targets:\n  a: {run: y, inputs: [in]}\n  b: {run: x, inputs: [in]}\n")
    assert gitbox.mlmake("list", "--since", "HEAD").stdout == "sub:a  (its definition in sub/mlmake.yaml)\n"
