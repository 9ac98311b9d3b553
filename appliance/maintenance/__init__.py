"""What a service engineer does: check the box, take a support bundle, bring settings and updates on a stick, give the box back empty.

MNT-001  no file of that name on the stick, or too large   MNT-020  the update is for another machine
MNT-002  no signature beside the file                      MNT-021  the update is older than what is allowed
MNT-003  the signature is not of one of our keys           MNT-022  the update is not whole
MNT-004  the signing program is missing                    MNT-023  what stands in the update's manifest is not understood
MNT-010  the bundle of profiles is not well formed         MNT-030  the confirmation was not typed
MNT-011  a profile of the bundle cannot be used            MNT-031  the daemon runs
MNT-012  the file of a site cannot be read or written      MNT-013  that is no file of a site's settings
MNT-032  that is no data folder of ours                    MNT-040  the system refuses (examination)
MNT-041  there is no data folder                           MNT-042  the disk is nearly full
MNT-033  a factory reset that only root can finish
MNT-043  what is read is not what was written              MNT-044  the database is damaged
MNT-045  the clock is wrong                                MNT-046  no screen is connected

UPD-001  no update on the stick                            UPD-010  new version on trial: the service is not up
UPD-002  no stick, or it cannot be mounted                 UPD-011  on trial: the receiver does not answer
UPD-003  the service that writes the slots is not there    UPD-012  on trial: no picture on the kiosk
UPD-004  the installation failed                           UPD-013  on trial: the golden analysis has not passed
UPD-005  another update must be installed first            UPD-020  the update does not fit the slot
UPD-006  the stick holds another update than was shown     UPD-030  an order that the service does not know
UPD-031  settings that cannot be kept                      UPD-032  the data cannot be erased
UPD-040  no TPM to give the data partition's key to        UPD-041  the TPM has it already
UPD-042  the TPM takes no key                              UPD-043  the TPM does not give it back
UPD-044  no data partition, or its key does not open it    UPD-045  no new recovery key: the TPM has no key
UPD-046  the box has no recovery key                       UPD-047  that is not its recovery key
UPD-048  the data partition is open                        UPD-049  the keys of the data partition cannot be changed
"""
