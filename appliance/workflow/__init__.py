"""The study state table, intake, analyst process, delivery outbox, and what people can ask of them.

Operator codes:

    WF-001  the state of the study does not allow this        WF-030  internal fault while sending
    WF-002  images came since                                 WF-031  the settings no longer hold this destination
    WF-003  the draft has changed since                       WF-032  a file that should be sent is missing
    WF-004  images came during the work: result dropped       WF-033  the destination did not accept every file
    WF-010  an image file cannot be read: put aside           WF-050  wrong PIN
    WF-011  an image without study or series: put aside       WF-051  too many wrong PINs
    WF-012  the headers of a series cannot be understood      WF-052  no such study
    WF-013  the study holds nothing to analyse                WF-053  no such picture
    WF-020  the analysis ended unexpectedly three times       WF-054  the role may not do this
    WF-021  internal fault during the analysis                WF-055  no such lesion
    WF-022  an approved study without a draft                 WF-056  no draft to correct
    WF-057  the command key was used for another command      WF-034  a treatment of the route cannot be done here
    WF-014  not analysed, by the settings of the receiver     WF-015  another series came after the analysis
    WF-058  images were put aside (warning)                   WF-070  storage is committed on this box alone (warning)
    WF-059  two people have the PIN
    WF-080  safe mode: receiving and storing only             WF-081  nobody has this badge
    WF-082  there is no badge reader                          WF-083  the clock is wrong
    WF-084  units of the system were changed by hand

    WF-060  a folder cannot be read (import)                  WF-064  a DICOM file is cut short
    WF-061  too many files at once                            WF-065  the DICOMDIR names a file that is not there
    WF-062  a file of a medium cannot be read                 WF-066  a study has nothing to export
    WF-063  a file is too large                               WF-067  plain media need a person and a reason

    WF-090  an earlier examination, for comparison only
    WF-091  nothing of the study was stored there             WF-092  files of the study are no longer on this box
    WF-068  what was written does not read back               WF-069  the medium cannot be written

    WF-100  an installation was cut off several times        WF-101  the new version did not start
    WF-102  the slot in use no longer starts                 WF-103  the update is in a state that does not allow this
    WF-104  the role may not update the box                  WF-105  this box has no second slot
    WF-110  the box is set up already                        WF-111  a value of the set-up cannot be used
    WF-112  no good service order on the stick               WF-113  the service order is for another box, or used
"""
