"""The commands of ``python -m appliance``, one file each: ``add_arguments`` says what it takes, ``run`` does it and returns the status."""
