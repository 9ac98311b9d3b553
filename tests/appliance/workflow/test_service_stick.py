"""A service engineer's stick: real signatures, a real helper behind its socket; one order, for one box, once."""

from __future__ import annotations

import io
import re
import resource
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from appliance.__main__ import main
from appliance.archive.archive import Archive
from appliance.commands.daemon import _tools
from appliance.errors import UpdateError, WorkflowError
from appliance.maintenance.signature import read_signed, sign
from appliance.maintenance.site_file import export_site, open_site
from appliance.settings import load_settings
from appliance.workflow.service_stick import LARGEST_ORDER, ORDER, SITE, ServiceStick
from appliance.workflow.slots_door import ask_slots
from appliance.workflow.update_desk import write_record
from appliance.workflow.update_states import UpdateRecord
from tests.appliance.archive.fakes import make_archive
from tests.appliance.maintenance.keys import Authority, Signer
from tests.appliance.workflow.test_box_desk import Helper

RECOVERY = "123453-000011-720885-000000-654335-111111-222222-333333"
WORDS = "ABCDE-FGHJK-LMNPQ-RSTUV"


class Box:
    """A box with a stick's folder; ``desk`` is what the sign-in screen talks to."""

    def __init__(self, folder: Path, authority: Authority, signer: Signer) -> None:
        self.stick = folder / "stick"
        self.stick.mkdir()
        self.device = folder / "device"
        self.out = folder / "out"
        self.out.mkdir()
        self.signer = signer
        self.key_orders: list[str] = []
        self.key_fault: UpdateError | None = None
        self.read = partial(read_signed, keyring=authority.keyring, maximum_bytes=LARGEST_ORDER)
        self.archive: Archive = make_archive(folder / "data")
        self.helper = Helper(folder)
        self.desk = ServiceStick(
            archive=self.archive,
            ask=partial(ask_slots, path=self.helper.path),
            read=self.read,
            support=self.write,
            export_site=self.export,
            open_site=lambda file, passphrase: open_site(file, passphrase=passphrase).put,
            ask_key=self.key,
            device=self.device,
            mounted=self.stick,
            outgoing=self.out,
        )

    def key(self, order: str) -> dict[str, str]:
        """Stands for root's helper of the data partition's key (tests/appliance/maintenance/test_data_key.py has the real one)."""
        if self.key_fault is not None:
            raise self.key_fault
        self.key_orders.append(order)
        return {"recovery": RECOVERY}

    def write(self, path: Path) -> None:
        """Stands for the support bundle."""
        path.write_bytes(b"bundle")

    def export(self, archive: Archive, out: Path) -> str:
        """As the daemon does it, but cheaper to open."""
        export_site(archive, self.helper.settings, out, passphrase=WORDS, software="0.1.0", memory_kib=1024)
        return WORDS

    def order(self, *words: str, code: str | None = None) -> None:
        """What stands on the stick, by the real command."""
        arguments = ["service-order", *words, "--code", code or self.desk.code(), "--to", str(self.stick)]
        assert main([*arguments, "--certificate", str(self.signer.certificate), "--key", str(self.signer.key)]) == 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "coronet")


@pytest.fixture
def box(tmp_path: Path, authority: Authority) -> Iterator[Box]:
    box = Box(tmp_path, authority, authority.signer("service"))
    yield box
    box.helper.close()
    box.archive.close()


def test_a_box_without_people_gets_one_whose_pin_is_shown_once(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    box.order("person", "--name", "维修 Sun")
    reply = box.desk.carry_out("command-1")
    pin = re.search(r"[0-9]{6}", reply.en)
    assert pin is not None
    assert pin[0] in reply.zh
    person = box.archive.users.check(pin[0])
    assert person is not None
    assert (person.name, person.role) == ("维修 Sun", "engineer")
    assert box.desk.carry_out("command-1") == reply, "the same tap again, after a lost connection"
    assert len(box.archive.users.all()) == 1
    assert [words[1:] for words in box.helper.ran] == [["start", "run-coronet\\x2dstick.mount"], ["stop", "run-coronet\\x2dstick.mount"]]
    assert pin[0] not in capsys.readouterr().out
    assert all(pin[0] not in str(entry) for entry in box.archive.audit.entries())


def test_an_order_counts_once_and_for_one_box(box: Box) -> None:
    box.order("person", "--name", "Sun")
    box.desk.carry_out("command-1")
    with pytest.raises(WorkflowError, match="WF-113"):
        box.desk.carry_out("command-2")
    code = box.device
    code.touch()
    box.order("erase", code=f"{(int(box.desk.code()) + 1) % 10**8:08}")
    with pytest.raises(WorkflowError, match="WF-113"):
        box.desk.carry_out("command-3")
    assert len(box.archive.users.all()) == 1
    assert not box.helper.erase.exists()


@pytest.mark.parametrize("spoil", ["unsigned", "changed", "stranger", "missing", "nonsense"])
def test_what_is_not_signed_by_us_does_nothing(box: Box, spoil: str, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other", "other").signer("stranger")
    if spoil == "stranger":
        box.signer = stranger
    box.order("erase")
    path = box.stick / ORDER
    if spoil == "unsigned":
        path.with_name(path.name + ".p7s").unlink()
    elif spoil == "changed":
        path.write_text(path.read_text().replace("erase", "person"))
    elif spoil == "missing":
        path.unlink()
    elif spoil == "nonsense":
        box.order("person", "--name", "x" * 300)
    before = box.desk.code()
    with pytest.raises(WorkflowError, match="WF-112"):
        box.desk.carry_out("command-1")
    assert box.archive.users.all() == []
    assert not box.helper.erase.exists()
    assert box.desk.code() == before, "who has no order of ours cannot use the code up"
    assert box.helper.ran[-1][1] == "stop", "the stick is let go"


def test_while_an_update_is_read_from_the_stick_it_is_left_alone(box: Box) -> None:
    box.order("erase")
    write_record(box.archive.data / "update", UpdateRecord(state="installing", number=3))
    with pytest.raises(WorkflowError, match="WF-112"):
        box.desk.carry_out("command-1")
    assert box.helper.ran == [], "nor mounted, nor unmounted under the updater"
    write_record(box.archive.data / "update", UpdateRecord(state="good", number=4))
    box.desk.carry_out("command-2")


def test_a_box_that_cannot_keep_a_code_still_shows_its_screen(box: Box) -> None:
    """A full disk: the code cannot be written. The screen must still come up and say so."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
    try:
        assert box.desk.code() == ""
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert re.fullmatch(r"[0-9]{8}", box.desk.code())


def test_erase_leaves_the_mark_and_restarts(box: Box) -> None:
    box.order("erase")
    assert "erases" in box.desk.carry_out("command-1").en
    assert box.helper.erase.exists()
    assert box.helper.ran[-1] == ["systemctl", "--no-block", "reboot"]


def settings_file(folder: Path, text: str) -> Path:
    profiles = Path(__file__).parents[3] / "firmware-config/profiles"
    (folder / "profiles").symlink_to(profiles)
    path = folder / "site.toml"
    path.write_text(text, "utf-8")
    return path


def test_settings_replace_the_boxs_with_what_their_profiles_say_and_it_restarts(box: Box, tmp_path: Path) -> None:
    printer = 'profile = "printer-14x17"\nname = "film"\nhost = "192.0.2.9"\nport = 104\nae_title = "P"\n'
    text = f'use = ["ups-megatec"]\n[policy]\ninstitution = "第一医院 \\"东\\""\n[[printer]]\n{printer}'
    path = settings_file(tmp_path, text)
    box.order("settings", "--settings", str(path))
    reply = box.desk.carry_out("command-1")
    assert "restarts" in reply.en
    assert "重启" in reply.zh
    assert load_settings(box.helper.settings) == load_settings(path)
    assert load_settings(box.helper.settings).ups.options["protocol"] == "megatec"
    assert box.helper.ran[-1] == ["systemctl", "--no-block", "reboot"]


OUT = "run-coronet\\x2dstick\\x2dout.mount"


def test_a_support_bundle_goes_onto_the_stick_which_is_let_go_before_it_is_said(box: Box) -> None:
    box.order("support")
    reply = box.desk.carry_out("command-1")
    assert "pulled out" in reply.en
    assert "可拔出" in reply.zh
    assert [path.read_bytes() for path in box.out.iterdir()] == [b"bundle"]
    assert [words[1:] for words in box.helper.ran[-2:]] == [["start", OUT], ["stop", OUT]]


def test_a_support_bundle_that_does_not_fit_is_told_and_the_stick_let_go(box: Box) -> None:
    box.out.rmdir()  # nothing can be written
    box.order("support")
    with pytest.raises(WorkflowError, match="WF-112") as caught:
        box.desk.carry_out("command-1")
    assert "cannot be written" in caught.value.en
    assert box.helper.ran[-1][1:] == ["stop", OUT]


def test_settings_that_cannot_be_used_change_nothing_and_cost_no_code(box: Box, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "[receiver]\nport = 104\n")
    box.order("settings", "--settings", str(path))
    order = box.stick / ORDER
    order.write_text(order.read_text("utf-8").replace("port", "prot"), "utf-8")
    sign(order, certificate=box.signer.certificate, key=box.signer.key)
    before = box.desk.code()
    with pytest.raises(WorkflowError, match="prot"):
        box.desk.carry_out("command-1")
    assert box.desk.code() == before
    assert not box.helper.settings.exists()
    assert box.helper.ran[-1][1] == "stop", "it does not restart"


@pytest.mark.parametrize("order", ["seal", "recovery"])
def test_a_recovery_key_is_shown_once_and_kept_nowhere(box: Box, order: str) -> None:
    box.order(order)
    reply = box.desk.carry_out("command-1")
    for said in (reply.zh, reply.en):
        assert RECOVERY in said.replace("\n", "")
    assert box.desk.carry_out("command-1") == reply, "the same tap again, after a lost connection"
    assert box.key_orders == [order]
    assert all(RECOVERY not in str(entry) for entry in box.archive.audit.entries())
    assert not any(RECOVERY.encode() in path.read_bytes() for path in box.archive.data.rglob("*") if path.is_file())
    with pytest.raises(WorkflowError, match="WF-113"):
        box.desk.carry_out("command-2")


def test_why_the_key_cannot_be_sealed_is_told(box: Box) -> None:
    box.key_fault = UpdateError("UPD-040", zh="本机没有 TPM 2.0", en="this box has no TPM 2.0")
    box.order("seal")
    with pytest.raises(WorkflowError, match="no TPM"):
        box.desk.carry_out("command-1")


def test_a_box_without_such_a_partition_does_not_seal_and_it_costs_no_code(box: Box) -> None:
    desk = ServiceStick(archive=box.archive, ask=partial(ask_slots, path=box.helper.path), read=box.read, mounted=box.stick)
    box.order("seal")
    before = box.desk.code()
    with pytest.raises(WorkflowError, match="does not offer"):
        desk.carry_out("command-1")
    assert box.desk.code() == before


@pytest.fixture
def exported(box: Box, tmp_path: Path) -> Path:
    """What a box of two people wrote onto the stick, taken to the office."""
    box.helper.settings.write_text('[policy]\ninstitution = "第一医院"\n', "utf-8")
    box.archive.users.add(name="Li", role="physician", pin="2468")
    box.archive.users.disable(box.archive.users.add(name="Wu", role="engineer", pin="8642").id)
    box.device.touch()
    box.order("export")
    reply = box.desk.carry_out("export-1")
    assert WORDS in reply.en.replace("\n", "")
    assert WORDS in reply.zh.replace("\n", "")
    assert all(WORDS not in str(entry) for entry in box.archive.audit.entries())
    assert box.helper.ran[-1][1:] == ["stop", OUT], "let go before it is said"
    return (box.out / SITE).rename(tmp_path / SITE)


@pytest.fixture
def successor(tmp_path: Path, authority: Authority) -> Iterator[Box]:
    """Another box, new."""
    (tmp_path / "second").mkdir()
    box = Box(tmp_path / "second", authority, authority.signer("service"))
    yield box
    box.helper.close()
    box.archive.close()


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))


def test_settings_and_people_go_from_box_to_box(exported: Path, successor: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, WORDS)
    successor.order("import", "--site", str(exported))
    reply = successor.desk.carry_out("import-1")
    assert "restarts" in reply.en
    assert "重启" in reply.zh
    assert load_settings(successor.helper.settings).policy.institution == "第一医院"
    person = successor.archive.users.check("2468")
    assert person is not None
    assert person.name == "Li"
    assert successor.archive.users.check("8642") is None, "who was barred stays barred"
    assert successor.helper.ran[-1] == ["systemctl", "--no-block", "reboot"]
    assert [entry.action for entry in successor.archive.audit.entries()] == ["service import", "site-import"]


def test_the_file_may_lie_on_the_stick_that_it_was_written_to(exported: Path, successor: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    file = exported.rename(successor.stick / SITE)
    type_in(monkeypatch, WORDS)
    successor.order("import", "--site", str(file))
    assert "restarts" in successor.desk.carry_out("import-1").en


def test_the_daemon_draws_a_passphrase_that_opens_what_it_wrote(box: Box, tmp_path: Path) -> None:
    box.helper.settings.write_text('[policy]\ninstitution = "第一医院"\n', "utf-8")
    tools = _tools(load_settings(box.helper.settings), box.helper.settings)
    assert tools.export_site is not None
    assert tools.open_site is not None
    words = tools.export_site(box.archive, tmp_path / SITE)
    assert re.fullmatch(r"([A-Z2-9]{5}-){3}[A-Z2-9]{5}", words)
    settings: list[str] = []
    tools.open_site(tmp_path / SITE, words)(box.archive, settings.append)
    assert "第一医院" in settings[0]


@pytest.mark.parametrize("spoil", ["missing", "changed", "other"])
def test_a_site_file_that_is_not_whole_changes_nothing_and_costs_no_code(
    exported: Path, successor: Box, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    type_in(monkeypatch, WORDS)
    successor.order("import", "--site", str(exported))
    file = successor.stick / SITE
    if spoil == "missing":
        file.unlink()
    elif spoil == "changed":
        content = bytearray(file.read_bytes())
        content[-40] ^= 1
        file.write_bytes(content)
    else:
        file.write_bytes(b"PK" * 4000)
    before = successor.desk.code()
    with pytest.raises(WorkflowError, match="WF-112"):
        successor.desk.carry_out("import-1")
    assert successor.desk.code() == before
    assert successor.archive.users.all() == []
    assert not successor.helper.settings.exists()
    assert successor.helper.ran[-1][1] == "stop", "the stick is let go"


def test_a_wrong_passphrase_is_told_where_the_order_is_signed(exported: Path, successor: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "ABCDE-FGHJK-LMNPQ-RSTUW")
    words = ["service-order", "import", "--site", str(exported), "--code", "00000000", "--to", str(successor.stick)]
    assert main([*words, "--certificate", str(successor.signer.certificate), "--key", str(successor.signer.key)]) == 1
    assert list(successor.stick.iterdir()) == []


def test_settings_that_cannot_be_used_are_not_signed_either(box: Box, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "[receiver]\nprot = 104\n")
    words = ["service-order", "settings", "--settings", str(path), "--code", "00000000", "--to", str(box.stick)]
    assert main([*words, "--certificate", str(box.signer.certificate), "--key", str(box.signer.key)]) == 1
    assert not (box.stick / ORDER).exists()


def test_a_mark_that_cannot_be_left_is_told(box: Box) -> None:
    box.helper.erase.parent.rmdir()
    with pytest.raises(UpdateError, match="UPD-032"):
        ask_slots("erase", path=box.helper.path)
    assert box.helper.ran == [], "and the box does not restart for nothing"


def test_the_code_is_shown_with_a_stick_or_where_nobody_can_sign_in(box: Box) -> None:
    code = box.desk.code()
    assert re.fullmatch(r"[0-9]{8}", code)
    user = box.archive.users.add(name="Li", role="physician", pin="2468")
    assert box.desk.code() == ""
    box.device.touch()
    assert box.desk.code() == code, "it stays until it is used up"
    box.device.unlink()
    box.archive.users.disable(user.id)
    assert box.desk.code() == code
    (box.archive.data / "service-code").write_bytes(b"\xff\xfe")
    assert re.fullmatch(r"[0-9]{8}", box.desk.code()), "one that is damaged is drawn anew"
