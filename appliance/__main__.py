"""The command line: ``python -m appliance COMMAND``. A table of contents; each command is a file in ``appliance/commands``."""

from __future__ import annotations

import argparse
import importlib
import keyword
import sys

from appliance.errors import CoronetError

COMMANDS: dict[str, str] = {
    "daemon": "run the appliance (coordinator; starts receiver and analyst)",
    "receiver": "run the DICOM receiver process (started by the daemon)",
    "query": "run the query/retrieve and DICOMweb process (started by the daemon)",
    "analyst": "run the analyst process (started by the daemon)",
    "analyze": "analyse one study from files, without a daemon",
    "simulate-ct": "make a virtual patient's CCTA and push it, as a CT would",
    "check-config": "check a settings file, or a folder of settings and profiles",
    "apply-config": "write what systemd needs of the settings: network, peers, screen",
    "profiles": "bring signed profiles of devices by stick",
    "import": "take in the DICOM files of a folder, stick or CD",
    "export": "write studies to a folder or stick, encrypted unless told otherwise",
    "backup": "write index and settings to a sealed file",
    "restore": "put the index of a sealed file back in its place",
    "site": "settings, profiles and people in one sealed file, from one box to another",
    "check-database": "check the database, repair it, or confirm a repair",
    "studies": "list, search, show and manage studies",
    "token": "make, list or revoke the tokens of DICOMweb",
    "user": "add, list or remove the people who may sign in",
    "doctor": "try every part of the box and say what works",
    "engines": "build TensorRT engines ahead of time, or list them",
    "update": "look for updates on a stick, check one whole, install it",
    "slots": "carry out one order to the slots (started by systemd)",
    "data-key": "carry out one order to the key of the data partition (started by systemd)",
    "support-bundle": "write what a service engineer needs, nothing of any patient",
    "service-order": "sign an order that a service engineer takes to one box (not on a box)",
    "factory-reset": "erase everything of patients, people and the site",
}
FAILED, USAGE = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status, 1 for a typed error (printed in both languages), 2 for wrong usage."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="appliance", description="Coronet, the coronary CT appliance.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Only the chosen command is imported: the receiver must stay free of numeric Python, and help must be quick.
    chosen = next((word for word in words if word in COMMANDS), None)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == chosen:
            module = importlib.import_module(f"appliance.commands.{name.replace('-', '_')}{'_' * keyword.iskeyword(name)}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    options = parser.parse_args(words)
    try:
        status: int = options.run(options)
    except CoronetError as error:
        sys.stderr.write(f"{error.code}\n{error.zh}\n{error.en}\n")
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    return status


if __name__ == "__main__":
    sys.exit(main())
