"""Profiles: laid beneath a site's settings, checked with 'did you mean', and by stick only with our signature."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from appliance.__main__ import main
from appliance.errors import MaintenanceError, SettingsError
from appliance.maintenance.profile_bundle import import_profiles, pack_profiles
from appliance.maintenance.signature import sign
from appliance.settings import load_settings
from tests.appliance.maintenance.keys import Authority, Signer

SHIPPED = Path(__file__).parents[3] / "firmware-config"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "coronet")


@pytest.fixture(scope="module")
def signer(authority: Authority) -> Signer:
    return authority.signer("release-1")


def site(tmp_path: Path, text: str, **profiles: str) -> Path:
    (tmp_path / "profiles").mkdir(exist_ok=True)
    for name, profile in profiles.items():
        (tmp_path / "profiles" / f"{name.replace('_', '-')}.toml").write_text(profile)
    path = tmp_path / "coronet.toml"
    path.write_text(text)
    return path


PRINTER = '[profile]\nkind = "printer"\ntext = "t"\nsource = "s"\n[settings]\nfilm_size = "11INX14IN"\ncopies = 2\n'


def test_what_the_site_says_counts_more_than_the_profile(tmp_path: Path) -> None:
    text = '[[printer]]\nprofile = "small"\nname = "film"\nhost = "192.0.2.3"\nport = 104\nae_title = "P"\ncopies = 1\n'
    [printer] = load_settings(site(tmp_path, text, small=PRINTER)).printer
    assert (printer.film_size, printer.copies, printer.name) == ("11INX14IN", 1, "film")


def test_tables_that_stand_once_are_used_by_name(tmp_path: Path) -> None:
    path = site(tmp_path, 'use = ["slow"]\n[intake]\nstalled_seconds = 90.0\n')
    slow = '[profile]\nkind = "intake"\ntext = "t"\nsource = "s"\n[settings]\nquiet_seconds = 20.0\nstalled_seconds = 180.0\n'
    site(tmp_path, path.read_text(), slow=slow)
    settings = load_settings(path)
    assert (settings.intake.quiet_seconds, settings.intake.stalled_seconds) == (20.0, 90.0)


@pytest.mark.parametrize(
    ("text", "profile", "code", "words"),
    [
        ('use = ["p"]\n', PRINTER, "CFG-012", "of a printer"),
        ('use = ["missing"]\n', PRINTER, "CFG-011", "there are: p"),
        ('use = ["../p"]\n', PRINTER, "CFG-010", "lower case"),
        ('use = ["p"]\n', PRINTER.replace("printer", "pirnter"), "CFG-010", "no kind pirnter"),
        ('use = ["p"]\n', PRINTER.replace('source = "s"\n', ""), "CFG-010", "kind, text and source"),
        ('use = ["p"]\n', PRINTER.replace('"printer"', '"ups"').replace("copies", "low_chrage"), "CFG-002", "did you mean `low_charge`"),
        ("[network]\naddress = '192.0.2.300/24'\n", PRINTER, "CFG-004", "no address"),
        ("[network]\naddress = '192.0.2.3/24'\ngateway = '198.51.100.1'\n", PRINTER, "CFG-004", "gateway is not in"),
        ("[network]\ninterface = 'e\\n[x]'\n".replace("'", '"'), PRINTER, "CFG-004", "not allowed"),
        ("[ups]\nend_charge = 60.0\n", PRINTER, "CFG-004", "less than low_charge"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, text: str, profile: str, code: str, words: str) -> None:
    profile = profile.replace('film_size = "11INX14IN"\n', "") if '"ups"' in profile else profile
    with pytest.raises(SettingsError) as caught:
        load_settings(site(tmp_path, text, p=profile))
    assert caught.value.code == code
    assert words in caught.value.en


def test_check_config_covers_every_shipped_profile_and_tells_all_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", str(SHIPPED)]) == 0
    told = capsys.readouterr().out
    assert all(path.stem in told for path in (SHIPPED / "profiles").glob("*.toml"))
    site(tmp_path, "[receiver]\nprot = 1\n", one=PRINTER.replace("copies", "copeis"), two=PRINTER)
    assert main(["check-config", str(tmp_path)]) == 1
    faults = capsys.readouterr()
    assert "did you mean `port`" in faults.err
    assert "did you mean `copies`" in faults.err
    assert "two: printer" in faults.out


# -- by stick


def bundle(tmp_path: Path, signer: Signer) -> Path:
    path = tmp_path / "site.profiles"
    assert "printer-14x17" in pack_profiles(SHIPPED / "profiles", path)
    sign(path, certificate=signer.certificate, key=signer.key)
    return path


def test_signed_profiles_are_taken(tmp_path: Path, authority: Authority, signer: Signer) -> None:
    names = import_profiles(bundle(tmp_path, signer), keyring=authority.keyring, folder=tmp_path / "box")
    assert names == sorted(path.stem for path in (tmp_path / "box").iterdir())
    assert (tmp_path / "box/ups-megatec.toml").read_text() == (SHIPPED / "profiles/ups-megatec.toml").read_text()


def test_keys_rotate_over_a_keyring_with_both(tmp_path: Path, authority: Authority, signer: Signer) -> None:
    new = Authority(tmp_path / "new", "coronet-2")
    both = tmp_path / "both.pem"
    both.write_text(authority.keyring.read_text() + new.keyring.read_text())
    for who in (signer, authority.signer("release-2"), new.signer("release-3")):
        assert import_profiles(bundle(tmp_path, who), keyring=both, folder=tmp_path / "box")
    with pytest.raises(MaintenanceError, match="MNT-003"):
        import_profiles(bundle(tmp_path, signer), keyring=new.keyring, folder=tmp_path / "box")


def tampered(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_whatever_is_wrong_with_a_bundle_nothing_is_written(tmp_path: Path, authority: Authority, signer: Signer) -> None:
    stranger = Authority(tmp_path / "x", "stranger").signer("guest")
    cases = {
        "MNT-003": [lambda path: tampered(path, 700), lambda path: tampered(path.with_name(path.name + ".p7s"), -5),
                    lambda path: sign(path, certificate=stranger.certificate, key=stranger.key),
                    lambda path: path.write_bytes(path.read_bytes()[:-512])],
        "MNT-002": [lambda path: path.with_name(path.name + ".p7s").unlink()],
        "MNT-001": [lambda path: path.unlink(), lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
                    lambda path: (path.unlink(), os.mkfifo(path)), lambda path: os.truncate(path, 5 << 20)],
    }  # fmt: skip
    for code, breaks in cases.items():
        for number, spoil in enumerate(breaks):
            folder = tmp_path / f"{code}-{number}"
            folder.mkdir()
            path = bundle(folder, signer)
            spoil(path)
            with pytest.raises(MaintenanceError, match=code):
                import_profiles(path, keyring=authority.keyring, folder=folder / "box")
            assert not (folder / "box").exists()


@pytest.mark.parametrize("name", ["../evil.toml", "/etc/evil.toml", "a/b.toml", "good.txt"])
def test_even_signed_a_path_out_of_the_folder_is_refused(tmp_path: Path, authority: Authority, signer: Signer, name: str) -> None:
    path = tmp_path / "evil"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(PRINTER)
        archive.addfile(entry, io.BytesIO(PRINTER.encode()))
    sign(path, certificate=signer.certificate, key=signer.key)
    with pytest.raises(MaintenanceError, match="MNT-010"):
        import_profiles(path, keyring=authority.keyring, folder=tmp_path / "box")


def test_the_command_line_refuses_and_takes(
    tmp_path: Path, authority: Authority, signer: Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    out, keys = tmp_path / "b", ["--certificate", str(signer.certificate), "--key", str(signer.key)]
    assert main(["profiles", "bundle", str(SHIPPED / "profiles"), "--out", str(out), *keys]) == 0
    take = ["profiles", "import", str(out), "--keyring", str(authority.keyring), "--to", str(tmp_path / "box")]
    assert main(take) == 0
    tampered(out, 600)
    assert main(take) == 1
    assert "签名无效" in capsys.readouterr().err
