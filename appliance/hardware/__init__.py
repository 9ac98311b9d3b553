"""What is screwed to the box: front panel, badge reader, UPS, GPU health. No clinical words, no database.

Everything here is optional and may be unplugged and plugged in again at any time: a device that is not there is a `HardwareError` with a
code, tried again with back-off (`keeper`), and the box runs on without it.

    HW-001  the device is not there, or cannot be opened       HW-020  the badge reader sends what is no badge
    HW-002  the device was unplugged or failed                 HW-030  the UPS service (upsd) is not reached
    HW-010  the panel does not answer                          HW-031  upsd refuses, or sends what is no answer
    HW-011  the panel speaks another version of the protocol   HW-032  on battery
    HW-012  the panel refuses an order                         HW-033  on battery, low: no new analysis
    HW-050  the machine cannot be switched off from here       HW-034  battery at its end: switching off
    HW-040  no GPU health (driver or library missing)          HW-035  the UPS wants its battery replaced
    HW-041  the GPU is too hot or slowed down                  HW-043  the GPU reports a critical error (Xid)
    HW-042  the GPU's memory has uncorrectable errors          HW-044  the GPU has fallen off the bus
    HW-036  on battery, and the UPS is no longer heard of
"""
