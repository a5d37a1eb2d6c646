"""Each licence is there word for word, and a package built from a bake carries it and names it."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

from tests.combinations import CHOICES
from tests.conftest import Bake
from tests.render import gates

HOLDERS = {
    "Proprietary": r"C:\new\1 'Zoë' \"Zo\" $(id) & Sons; # 1",
    "Apache-2.0": "🚀 طيران, Copyright (c) 1999 Nobody. All rights reserved.",
    "MIT": "}} %} #} - a: {b} [c] * d@example.com",
    "BSD-3-Clause": "航班延误 é\u0301, Inc.",
}


@pytest.mark.parametrize("licence", CHOICES["license"])
def test_a_package_carries_its_licence_and_names_it(licence: str, bake: Bake) -> None:
    holder = HOLDERS.get(licence, "Ada Lovelace")
    project = bake(license=licence, author_name=holder, __year="1843")
    assert gates.altered_licence(project) == []
    text = (project / "LICENSE").read_text("utf-8")
    assert re.search(rf"Copyright (\(c\) )?1843,? {re.escape(holder)}", text)
    command = [str(Path(sys.executable).with_name("poetry")), "build", "--no-interaction"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,), (sdist,) = ((project / "dist").glob(kind) for kind in ("*.whl", "*.tar.gz"))
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        described = [archive.read(name)]
        carried = [archive.read(f"{name.removesuffix('METADATA')}licenses/LICENSE")]
    with tarfile.open(sdist) as archive:
        read = {Path(each.name).name: archive.extractfile(each) for each in archive}
        described += [file.read() for name, file in read.items() if file and name == "PKG-INFO"]
        carried += [file.read() for name, file in read.items() if file and name == "LICENSE"]
    assert [copy.decode() for copy in carried] == [text, text]
    for each in described:
        metadata = Metadata.from_email(each)
        expected = "LicenseRef-Proprietary" if licence == "Proprietary" else licence
        assert metadata.license_expression == expected
        assert metadata.license_files == ["LICENSE"]
        assert metadata.author == holder


@pytest.mark.parametrize(
    ("licence", "before", "after", "line"),
    [
        ("MIT", "free of charge", "for a fee", "LICENSE: not the text of MIT"),
        ("MIT", "Data Science Team", "Nobody", "LICENSE: no line with `Copyright`, a year and"),
        ("BSD-3-Clause", "3. Neither", "4. Neither", "LICENSE: not the text of BSD-3-Clause"),
        ("Apache-2.0", "   END OF TERMS AND CONDITIONS\n", "", "LICENSE: not the text of Apache"),
        ("Proprietary", "Copyright (c) 2", "Copyright (c) ", "LICENSE: no line with `Copyright`"),
    ],
)
def test_an_altered_licence_is_caught(
    licence: str, before: str, after: str, line: str, bake: Bake
) -> None:
    project = bake(license=licence)
    text = (project / "LICENSE").read_text("utf-8")
    assert before in text
    (project / "LICENSE").write_text(text.replace(before, after), "utf-8")
    (found,) = gates.altered_licence(project)
    assert found.startswith(line)


def test_a_licence_without_a_known_text_is_caught(bake: Bake) -> None:
    project = bake(license="MIT")
    settings = (project / "pyproject.toml").read_text("utf-8")
    (project / "pyproject.toml").write_text(settings.replace('"MIT"', '"WTF-1.0"'), "utf-8")
    assert gates.altered_licence(project) == ["LICENSE: not the text of WTF-1.0"]
