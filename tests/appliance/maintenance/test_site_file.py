"""Settings, profiles and people from one box to another, sealed."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.archive.archive import Archive
from appliance.errors import CoronetError
from appliance.maintenance.site_file import export_site, import_site
from tests.appliance.archive.fakes import make_archive

WORDS = "correct horse battery"


@pytest.fixture
def first(tmp_path: Path) -> Archive:
    archive = make_archive(tmp_path / "first")
    archive.users.add(name="Li", role="physician", pin="2468")
    archive.users.disable(archive.users.add(name="Wu", role="engineer", pin="8642").id)
    return archive


def site(folder: Path, text: str = 'use = ["kiosk-en"]\n[policy]\ninstitution = "示范医院"\n') -> Path:
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles/kiosk-en.toml").write_text(
        '[profile]\nkind = "kiosk"\ntext = "English"\nsource = "test"\n[settings]\nlanguage = "en"\n'
    )
    (folder / "coronet.toml").write_text(text, "utf-8")
    return folder / "coronet.toml"


def export(archive: Archive, folder: Path, text: str | None = None) -> Path:
    settings = site(folder / "etc") if text is None else site(folder / "etc", text)
    assert export_site(archive, settings, folder / "site.sealed", passphrase=WORDS, software="0.1.0", memory_kib=1024) == 2
    return folder / "site.sealed"


def test_another_box_takes_it_all_and_the_same_pins_open_it(tmp_path: Path, first: Archive) -> None:
    file = export(first, tmp_path)
    assert b"2468" not in file.read_bytes()
    second = make_archive(tmp_path / "second")
    settings = tmp_path / "second-etc/coronet.toml"
    assert list(import_site(second, file, settings, passphrase=WORDS)) == ["Li", "Wu"] or len(second.users.all()) == 2
    assert "示范医院" in settings.read_text("utf-8")
    assert (settings.parent / "profiles/kiosk-en.toml").exists()
    person = second.users.check("2468")
    assert person is not None
    assert (person.name, person.role) == ("Li", "physician")
    assert second.users.check("8642") is None, "who was barred stays barred"
    assert list(import_site(second, file, settings, passphrase=WORDS)) == [], "again adds nobody"


def test_a_pin_that_somebody_has_here_already_signs_nobody_in_until_it_is_changed(tmp_path: Path, first: Archive) -> None:
    second = make_archive(tmp_path / "second")
    here = second.users.add(name="Zhou", role="radiographer", pin="2468")
    import_site(second, export(first, tmp_path), tmp_path / "second-etc/coronet.toml", passphrase=WORDS)
    with pytest.raises(CoronetError) as caught:
        second.users.check("2468")
    assert caught.value.code == "ARC-036"
    second.users.change_pin(here.id, pin="1357")
    person = second.users.check("2468")
    assert person is not None
    assert person.name == "Li"


def test_a_wrong_passphrase_a_changed_file_and_settings_that_cannot_be_used_change_nothing(tmp_path: Path, first: Archive) -> None:
    file = export(first, tmp_path)
    second = make_archive(tmp_path / "second")
    settings = tmp_path / "second-etc/coronet.toml"
    spoilt = tmp_path / "spoilt.sealed"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt.write_bytes(content)
    bad = export(first, tmp_path / "bad", "[policy]\ninstitutoin = 1\n")
    for path, words, code in ((file, "wrong horse battery", "ARC-062"), (spoilt, WORDS, "ARC-062"), (bad, WORDS, "CFG-002")):
        with pytest.raises(CoronetError) as caught:
            import_site(second, path, settings, passphrase=words)
        assert caught.value.code == code
    assert second.users.all() == []
    assert not settings.exists()
