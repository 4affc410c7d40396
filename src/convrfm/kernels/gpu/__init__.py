"""The kernels of the CUDA backend (Numba): one thread for each pair of images.

`launch` describes the devices, plans and launches kernels, `device_functions` has what a thread computes at each position,
`sweeps` are the kernels and their derivatives. All of it also runs in Numba's simulator, without a GPU.
"""
