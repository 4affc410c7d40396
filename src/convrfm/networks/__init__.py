"""The finite networks of the paper, and residual networks for CIFAR-10, a module for each family."""
