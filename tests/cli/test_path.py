"""`path:` of a target: directories in front of the PATH of those that need it."""

CONFIG = """\
version: 1
targets:
  install:
    inputs: [req.txt]
    stamp: env/stamp
    path: env/bin
    run: |
      rm -rf env; mkdir -p env/bin
      printf '#!/bin/sh\\necho "tool of $(cat req.txt)"\\n' > env/bin/tool
      chmod +x env/bin/tool
      cp req.txt env/stamp
  direct: {needs: [install], inputs: [a.txt], run: tool}
  through: {needs: [direct], inputs: [a.txt], run: tool}  # names no need that provides it
  program: {needs: [install], inputs: [a.txt], run: env/bin/tool}
"""


def test_a_need_provides_programs(gitbox):
    gitbox.write("mlmake.yaml", CONFIG)
    gitbox.write("req.txt", "one\n")
    gitbox.write("a.txt", "a\n")
    assert gitbox.mlmake("direct", "program").stdout.splitlines() == ["tool of one"] * 2
    assert "nothing to do" in gitbox.mlmake("direct", "program").stderr
    gitbox.write("req.txt", "two\n")
    assert gitbox.mlmake("direct", "program").stdout.splitlines() == ["tool of two"] * 2
    assert "tool" in gitbox.mlmake("through", check=1).stderr


def test_it_must_lie_in_the_project(gitbox):
    gitbox.write("mlmake.yaml", "version: 1\ntargets:\n  a: {run: 'true', path: ../x}\n")
    assert "outside the repository" in gitbox.mlmake("a", check=2).stderr
