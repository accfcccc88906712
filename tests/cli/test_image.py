"""The Dockerfile rule with a real builder: an image FROM scratch, since nothing can be pulled here."""
import json
import os

import pytest

from conftest import need_peer


@pytest.fixture
def image(gitbox):
    """A repository with a Dockerfile, and buildah with a store of its own."""
    need_peer("buildah")
    if os.geteuid() != 0:
        pytest.skip("buildah with chroot isolation needs root or user namespaces here")
    store = gitbox.home / "store"
    gitbox.env.update(BUILDAH_ISOLATION="chroot", STORAGE_DRIVER="vfs",
                      CONTAINERS_STORAGE_CONF=str(gitbox.write("../home/storage.conf",
                                                               f'[storage]\ndriver = "vfs"\ngraphroot = "{store}"\n'
                                                               f'runroot = "{store}-run"\n')))
    gitbox.write("mlmake.yaml", "version: 1\npass_env: [CONTAINERS_STORAGE_CONF]\nvars: {image_name: hello}\n")
    gitbox.write("Dockerfile", "FROM scratch\nCOPY app.txt /app.txt\n")
    gitbox.write("app.txt", "one\n")
    gitbox.git("add", ".")
    gitbox.git("commit", "-q", "-m", "start")
    return gitbox


def names(box):
    images = json.loads(box.run("buildah", "images", "--json", check=0).stdout)
    return {name for image in images for name in image.get("names") or []}


@pytest.mark.slow
def test_build(image):
    commit = image.git("rev-parse", "--short=12", "HEAD").stdout.strip()
    assert f"building hello:{commit} with buildah" in image.mlmake("build").stdout
    assert names(image) == {f"localhost/hello:{commit}"}
    assert "nothing to do" in image.mlmake("build").stderr
    image.write("app.txt", "two\n")
    assert "app.txt changed" in image.mlmake("why", "build").stdout
    image.mlmake("build")
    assert f"localhost/hello:{commit}-dirty" in names(image)
    assert image.git("status", "--porcelain").stdout == " M app.txt\n"


@pytest.mark.slow
def test_a_failing_build_names_the_step(image):
    image.write("Dockerfile", "FROM scratch\nCOPY no-such-file /\n")
    failed = image.mlmake("build", check=1)
    assert "no-such-file" in failed.stdout + failed.stderr
    assert names(image) == set()


def test_without_a_builder(gitbox):
    tools = gitbox.path / "../bin"
    tools.mkdir()
    for tool in ("sh", "basename", "tr", "sed", "git"):
        (tools / tool).symlink_to(next(f"{d}/{tool}" for d in ("/usr/bin", "/bin") if os.path.exists(f"{d}/{tool}")))
    gitbox.write("Dockerfile", "FROM scratch\n")
    failed = gitbox.mlmake("build", check=1, PATH=tools.resolve())
    assert "none of buildah, podman and docker is installed" in failed.stdout + failed.stderr
