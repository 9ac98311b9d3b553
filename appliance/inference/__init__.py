"""Running networks: the model catalog, the engines, and the sliding window. Knows arrays and models, nothing clinical.

INF-001  the model catalog cannot be read            INF-052  an engine is refused by the GPU's runtime
INF-002  the file of a model is missing              INF-053  another process is building and does not come to an end
INF-003  the file of a model is another one          INF-054  onnx is missing, no copies of the networks can be made
INF-004  the catalog has no such model               INF-055  an INT8 table does not fit its network
INF-010  an engine cannot take a model or a shape    INF-056  an engine file is damaged (it is built anew)
INF-011  input of a wrong shape, or NaN              INF-060  too little memory on the graphics card
INF-012  an engine failed                            INF-061  the graphics card failed
INF-020  an output is missing                        INF-062  the card gave an answer that cannot be
INF-021  an output has a wrong shape or type         INF-063  the card is at work on another patient
INF-022  NaN, infinity or runaway scores             INF-064  there is no graphics card to be used
INF-023  a class that the model does not have        INF-065  no compiled kernels for this card
INF-030  the wanted engine does not work here        INF-070  no TensorRT library can be loaded
INF-040  channels or mask do not fit the model       INF-071  an engine cannot be built
INF-050  no golden answer for these weights          INF-072  driver and TensorRT do not fit each other
INF-051  another answer than the golden one          INF-073  engines are being built (first start)
INF-074  the process before died while it used the GPU
"""
