"""Settings: every mistake is named with its place, and the shipped file is good."""

from pathlib import Path

import pytest

from appliance.errors import SettingsError
from appliance.settings import Settings, load_settings, parse_settings

ROOT = Path(__file__).resolve().parents[2]


def test_defaults_are_valid() -> None:
    assert parse_settings({}, source="empty") == Settings()


def test_the_shipped_settings_file_is_good() -> None:
    assert load_settings(ROOT / "firmware-config" / "coronet.toml").receiver.ae_title == "CORONET"


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"reciever": {}}, "did you mean `receiver`"),
        ({"receiver": {"prot": 1}}, "did you mean `port`"),
        ({"receiver": {"port": "104"}}, "$.receiver.port"),
        ({"receiver": {"port": 0}}, "$.receiver.port"),
        ({"receiver": {"ae_title": "seventeen letters"}}, "$.receiver.ae_title"),
        ({"policy": {"approval": "nurse"}}, "$.policy.approval"),
        ({"printer": [{"name": "film"}]}, "$.printer[0]"),
    ],
)
def test_a_mistake_is_named_with_its_place(tree: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(tree, source="site.toml")
    assert words in caught.value.en
    assert "site.toml" in caught.value.zh


def test_two_places_of_one_name_are_refused() -> None:
    place = {"name": "a", "host": "h", "port": 104, "ae_title": "X"}
    with pytest.raises(SettingsError, match="CFG-003"):
        parse_settings({"printer": [place], "destination": [place]}, source="site.toml")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[receiver\n")
    for path in (broken, tmp_path / "missing.toml"):
        with pytest.raises(SettingsError, match="CFG-001") as caught:
            load_settings(path)
        assert path.name in caught.value.en


PACS = {"name": "PACS", "host": "h", "port": 104, "ae_title": "PACS", "send": []}


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"route": [{"name": "r", "to": ["nowhere"]}]}, "names the destination nowhere"),
        ({"archive": {"destination": "PACS"}, "destination": [PACS]}, "needs commitment = true"),
        (
            {"route": [{"name": "r", "to": ["PACS"], "pseudonymise": True}], "destination": [{**PACS, "send": ["source"]}]},
            "must not get others",
        ),
        (
            {"route": [{"name": "r", "to": ["PACS"], "pseudonymise": True}, {"name": "s", "to": ["PACS"]}], "destination": [PACS]},
            "must not get others",
        ),
        (
            {"route": [{"name": "r", "to": ["PACS"], "coerce": [{"attribute": "StudyID"}]}], "destination": [PACS]},
            "either value or from_order",
        ),
        (
            {"route": [{"name": "r", "to": ["PACS"], "coerce": [{"attribute": "Institution", "value": "x"}]}], "destination": [PACS]},
            "PS3.6 has no attribute Institution",
        ),
        ({"route": [{"name": "r", "to": [], "between": ["7:00", "25:00"]}]}, "$.route[0].between[0]"),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(tree: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(tree, source="site.toml")
    assert words in caught.value.en


@pytest.mark.parametrize(
    ("receiver", "said"),
    [
        ({"calling_addresses": ["192.0.2.0/24", "192.0.2.300"]}, "receiver.calling_addresses"),
        ({"ae": [{"title": "CORONET"}]}, "receiver.ae"),
        ({"tls": {"certificate": "a.pem", "key": "a.key"}}, "receiver.tls"),
        ({"ae": [{"title": "X", "workflow": "analyze"}]}, "workflow"),
    ],
)
def test_doors_that_cannot_be_are_refused(receiver: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_settings({"receiver": receiver}, source="test.toml")
