"""The kernels of the CUDA backend (Numba): one thread for each pair of images.

`plan` says what a kernel is compiled for and where its threads keep their numbers, `functions` holds the arc cosine, loads
and stores, and sums over windows, `first_layer` what the kernels read from images, `arccosine` and `laplace` the kernels and
their derivatives, and `hardware` what they ask of the device. All of it also runs in Numba's simulator, without a GPU.
"""
