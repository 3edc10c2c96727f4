"""The Debian package and the RPM, built from a clean clone; the life of the former in a clean, booted Debian 12."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documented import all_blocks
from tests.packages.building import INSTALL, cloned, run
from tests.public.test_schemas import problems
from tests.servers.process import ROOT, program
from tests.system.booted import BOOT, configured
from tests.system.test_owners import reachable
from tests.test_docs import LINK

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.real]
LIFE = Path(__file__).with_name("life.sh")
FORMER = "0.1.9"


def test_debian_package_is_the_same_when_built_again(package: Path, tmp_path: Path) -> None:
    """Another clone at another place, with another umask, time zone and locale, makes the same bytes."""
    other = {**os.environ, "TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "C"}
    again = cloned(tmp_path / "elsewhere").make("deb", umask=0o077, env=other)
    assert package.name == again.name
    assert package.read_bytes() == again.read_bytes()


def test_debian_package_is_accepted_by_lintian(package: Path) -> None:
    """No error and no warning; each override says why."""
    assert run(program("lintian", INSTALL), "--fail-on", "error,warning", "--allow-root", package) == ""


def test_debian_package_has_what_a_host_needs(package: Path) -> None:
    """Units, user, man pages, completion, documents, bill of materials; each file is root's, none is for others."""
    listed = [line.split(maxsplit=5) for line in run("dpkg-deb", "--contents", package).splitlines()]
    names = {row[5].removeprefix("./").partition(" ")[0] for row in listed}
    units = {f"lib/systemd/system/{p.name}" for p in (ROOT / "systemd").glob("certagent*.s*")}
    assert units - names == set()
    assert {
        "etc/certagent/",
        "usr/bin/certagent",
        "usr/lib/systemd/catalog/certagent.catalog",
        "usr/lib/sysusers.d/certagent.conf",
        "usr/lib/tmpfiles.d/certagent.conf",
        "usr/share/bash-completion/completions/certagent",
        "usr/share/certagent/schemas/config.json",
        "usr/share/certagent/schemas/status.json",
        "usr/share/doc/certagent/README.md",
        "usr/share/doc/certagent/certagent.cdx.json",
        "usr/share/doc/certagent/changelog.gz",
        "usr/share/doc/certagent/config.example.toml",
        "usr/share/doc/certagent/docs/authorities/acme.md",
        "usr/share/fish/vendor_completions.d/certagent.fish",
        "usr/share/man/man1/certagent-status.1.gz",
        "usr/share/man/man1/certagent.1.gz",
        "usr/share/man/man5/certagent.toml.5.gz",
        "usr/share/zsh/vendor-completions/_certagent",
    } - names == set()
    documents = {
        line.partition("file:/")[2] for p in (ROOT / "systemd").iterdir() for line in p.read_text().splitlines()
    }
    assert documents - {""} - names == set()
    assert {row[1] for row in listed} == {"root/root"}
    assert [row[5] for row in listed if row[0][0] != "l" and row[0][8] == "w"] == []


def former(package: Path, base: Path) -> Path:
    """The same package, as an earlier version."""
    tree = base / "former"
    run("dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN" / "control"
    version = run("dpkg-deb", "--field", package, "Version").strip()
    control.write_text(control.read_text().replace(f"Version: {version}", f"Version: {FORMER}-1"))
    module = next(tree.rglob("certagent/__init__.py"))
    module.write_text(f'__version__ = "{FORMER}"\n')
    (tree / "DEBIAN" / "md5sums").unlink()
    made = base / "before.deb"
    run("dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, made)
    shutil.rmtree(tree)
    return made


SAID = ("command", "status", "plan", "check", "history")  # as the agent answers, held to their schemas


def test_debian_package_has_what_its_documents_link_to(package: Path, tmp_path: Path) -> None:
    """A reader of /usr/share/doc/certagent finds every page, example and rule that a page names."""
    run("dpkg-deb", "--extract", package, tmp_path)
    pages = [*(tmp_path / "usr" / "share" / "doc" / "certagent").rglob("*.md")]
    assert len(pages) > 20
    broken = [(p.name, link) for p in pages for link in LINK.findall(p.read_text()) if not (p.parent / link).exists()]
    assert broken == []


PAGE = [b.commands for b in all_blocks() if b.page == "docs/install.md"]
STATES = re.compile(r"^certagent (plan|status)$", re.MULTILINE)  # they end with 1 or 2 for what they find


def blocks(base: Path) -> None:
    """The blocks of docs/install.md that are run on the host; the configuration is one that was written by hand."""
    install, upgrade = (b for b in PAGE if b.startswith("apt-get install ./"))
    found = {"install": install, "upgrade": upgrade}
    for name, first in {
        "user": "useradd",
        "by-hand": "rm -f",
        "start": "certagent init",
        "standin": "systemd-run",
        "remove": "apt-get remove",
        "purge": "apt-get purge",
    }.items():
        (found[name],) = (b for b in PAGE if b.startswith(first))
    found["start"] = found["start"].partition("\n")[2]
    for name, text in found.items():
        (base / name).write_text(STATES.sub(r"\g<0> || test $? -lt 3", text))


def test_debian_package_has_the_name_that_documents_show(package: Path) -> None:
    """A new version changes it there, too."""
    architecture = package.stem.rpartition("_")[2]
    assert {b.split()[-1] for b in PAGE if b.startswith("apt-get install ./") and "\n" not in b.strip()} == {
        f"./{package.name}".replace(architecture, "amd64")
    }


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian 12 with systemd and Python, and nothing else."""
    root = tmp_path_factory.mktemp("debian") / "root"
    words = ["--quiet", "--mode=root", "--variant=minbase", "--include=systemd,dbus,python3", "bookworm", root]
    run(program("mmdebstrap", INSTALL), *words, umask=0o022)
    return root


def test_debian_package_is_installed_upgraded_removed_and_purged(package: Path, clean: Path, tmp_path: Path) -> None:
    """From 0.1 by hand to purge, under systemd: certificates are verified, and no certs directory is ever touched."""
    former(package, tmp_path)
    shutil.copy(package, tmp_path / "after.deb")
    (tmp_path / "config.toml").write_text(configured())
    blocks(tmp_path)
    (tmp_path / "name").write_text(package.name)
    shutil.copy(LIFE, tmp_path / "inside")
    reachable(tmp_path)
    booted = subprocess.run([str(BOOT), str(tmp_path), str(clean)], check=False, timeout=240)
    output = (tmp_path / "output").read_text() if (tmp_path / "output").exists() else ""
    assert booted.returncode == 0, (tmp_path / "console").read_text()[-2000:]
    assert (tmp_path / "status").read_text().strip() == "0", output
    said = {p.suffix[1:]: json.loads(p.read_text()) for p in tmp_path.glob("said.*")}
    assert {name: problems(name, document) for name, document in said.items()} == {name: [] for name in SAID}
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert {key: value for row in told for key, value in row.items()} == {
        "hides": "1",
        "left": "",
        "installed": f"certagent {FORMER}",
        "idle": "inactive disabled",
        "worker": "/:/usr/sbin/nologin",
        "verified": "",
        "compiled": "yes",
        "catalogue": "yes",
        "unconfigured": "64 1",
        "renewed": "renew node: verified: served",
        "confined": "0",
        "upgraded": f"certagent {run('dpkg-deb', '--field', package, 'Version').partition('-')[0]} active",
        "daemon": "0",
        "kept_by_upgrade": "yes",
        "reloads": "0",
        "renewed_after": "renew node: verified: served",
        "removed": "inactive not-found",
        "program": "",
        "kept_by_remove": "yes",
        "ledger": "kept",
        "server": "active",
        "stays": "1",
        "places": "/var/lib/certagent-second/certs/node.crt",
        "links": "",
        "kept_by_purge": "yes",
        "status": "unknown",
    }


def test_rpm_has_the_tree_of_the_debian_package(package: Path, clone: Path, tmp_path: Path) -> None:
    """Below /usr/lib/certagent the same files; it can be installed into a root, where the program says its version."""
    built = clone.make("rpm")
    listed = set(run("rpm", "-qlp", built).splitlines())
    assert listed >= {"/usr/bin/certagent", "/usr/lib/systemd/system/certagent.service", "/etc/certagent"}
    root = tmp_path / "root"
    run("rpm", "--root", root, "--initdb")
    run("rpm", "--root", root, "--nodeps", "--noscripts", "--install", built)
    debian = tmp_path / "debian"
    run("dpkg-deb", "--extract", package, debian)
    assert files(root) == files(debian)
    site = root / "usr" / "lib" / "certagent" / "lib" / "python3.11" / "site-packages"
    said = run("/usr/bin/python3.11", "-S", "-m", "certagent", "--version", cwd="/", env={"PYTHONPATH": str(site)})
    assert f"certagent {run('rpm', '-qp', '--queryformat', '%{VERSION}', built)}\n" == said


def files(root: Path) -> dict[str, bytes | str]:
    """What is below /usr/lib/certagent: the text of a link, the bytes of a file."""
    base = root / "usr" / "lib" / "certagent"
    return {
        str(p.relative_to(base)): os.readlink(p) if p.is_symlink() else p.read_bytes()
        for p in base.rglob("*")
        if p.is_symlink() or p.is_file()
    }
