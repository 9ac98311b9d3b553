"""The sliding window and other costly steps on an NVIDIA GPU, over pycuda. Knows arrays and models, nothing clinical.

Nothing here needs a GPU, a driver or pycuda to be imported. Operator codes:

    INF-060  too little memory on the card for this study
    INF-061  the card failed, or was lost, in the middle of a study
    INF-062  a kernel or the network gave values that must not be used
    INF-063  the card is busy with another patient or another process
    INF-064  no GPU that can be used: no pycuda, no driver, no card
    INF-065  the compiled kernels are missing, or are not for this card
"""
