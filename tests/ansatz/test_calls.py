"""The convolutions that really run: filters computed in `forward`, hooks, functional calls, what is hidden; one layer's kind."""

import copy
import signal
import warnings

import numpy as np
import pytest
import torch
from tolerance import assert_close
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ansatz.brute_force import patch_agop
from convrfm import AgopAccumulator, measure, summarise
from convrfm.errors import ConvRFMWarning, InputError

pytestmark = pytest.mark.usefixtures("one_thread")


class Standardised(nn.Conv2d):
    """Weight standardisation, as in `StdConv2d` of timm."""

    def effective(self) -> torch.Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        return (self.weight - mean) / self.weight.std((1, 2, 3), keepdim=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.conv2d(images, self.effective(), self.bias, self.stride, self.padding, self.dilation, self.groups)


class WithNorm(nn.Conv2d):
    """A norm and an activation inside, as in `Conv2d` of detectron2."""

    def __init__(self, *args, norm: nn.Module, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.norm = norm

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.norm(super().forward(images)))


class Quantised(nn.Conv2d):
    """Filters rounded to a grid, as in training that is aware of a later quantisation."""

    def effective(self) -> torch.Tensor:
        return (self.weight * 16).round() / 16

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(images, self.effective(), self.bias)


def norm() -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(4)
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    return layer


def network(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Tanh(), nn.Conv2d(4, 3, 3), nn.Tanh(), nn.Flatten(), nn.LazyLinear(3))


def ready(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """In float64 and eval mode, with lazy layers of known size."""
    model = model.double().eval()
    with torch.no_grad():
        model(images)
    return model


def plain(layer: nn.Conv2d, weight: torch.Tensor) -> nn.Conv2d:
    """A `torch.nn.Conv2d` with the filters that another one applies."""
    made = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding).double()
    made.weight.data, made.bias.data = weight.detach(), layer.bias.detach()
    return made.eval()


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(3, 2, 8, 8, dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize("kind", [Standardised, Quantised])
def test_filters_are_those_that_are_applied(kind, images):
    model = ready(network(kind(2, 4, 3, padding=1)), images)
    equivalent = copy.deepcopy(model)
    equivalent[0] = plain(model[0], model[0].effective())
    found = measure(model, images)
    assert_close(found["0"].weight[0], model[0].effective().detach().flatten(1).numpy(), "exact")
    for layer in ("0", "2"):
        assert_close(found[layer].agop.dense(), patch_agop(equivalent, layer, images).numpy(), "ansatz")
    with pytest.raises(AssertionError):  # the module's own weight is another one
        assert_close(patch_agop(model, "0", images).numpy(), found["0"].agop.dense(), "ansatz")
    assert found["0"].computed
    assert not found["2"].computed


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_outputs_are_those_of_the_convolution(images):
    model = ready(network(WithNorm(2, 4, 3, norm=norm())), images)
    equivalent = copy.deepcopy(model)
    equivalent[0] = nn.Sequential(plain(model[0], model[0].weight), copy.deepcopy(model[0].norm), nn.Tanh())
    expected = patch_agop(equivalent, "0.0", images).numpy()
    assert_close(measure(model, images)["0"].agop.dense(), expected, "ansatz")


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_hooks_of_the_user_are_no_part_of_the_convolution(images):
    model = ready(network(nn.Conv2d(2, 4, 3)), images)
    equivalent = nn.Sequential(copy.deepcopy(model[0]), Doubled(), *copy.deepcopy(model)[1:])
    model[0].register_forward_hook(lambda _module, _inputs, output: 2 * output)
    assert_close(measure(model, images)["0"].agop.dense(), patch_agop(equivalent, "0", images).numpy(), "ansatz")


class Doubled(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return 2 * maps


def test_quantisation_aware_training_of_pytorch(images):
    from torch.ao.nn.qat import Conv2d
    from torch.ao.quantization import get_default_qat_qconfig

    layer = Conv2d(2, 4, 3, qconfig=get_default_qat_qconfig())
    model = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(144, 3)).eval()
    images = images.float()
    model(images)  # lets the observer see the weights
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = measure(model, images)["0"]
    equivalent = nn.Sequential(nn.Conv2d(2, 4, 3), *list(model)[1:])
    equivalent[0].weight.data = layer.weight_fake_quant(layer.weight).detach()
    equivalent[0].bias = layer.bias
    assert_close(found.agop.dense(), patch_agop(equivalent, "0", images).numpy(), "ansatz", "float32")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("wrapped", ["parametrised", "old weight norm"])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weights_that_pytorch_computes(wrapped, images):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 3)).double().eval()
    if wrapped == "parametrised":
        nn.utils.parametrizations.spectral_norm(model[0])
        model.eval()
    else:
        nn.utils.weight_norm(model[0])
        model[0].weight_g.data *= 3
        model(images)
    equivalent = nn.Sequential(plain(model[0], model[0].weight), *list(model)[1:])
    assert_close(measure(model, images)["0"].agop.dense(), patch_agop(equivalent, "0", images).numpy(), "ansatz")


class Changing(nn.Conv2d):
    """Filters that are others in every call."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return F.conv2d(images, self.weight * self.calls, self.bias)


class Dynamic(nn.Module):
    """Filters computed from the maps of the images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.readout = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.first(images)
        weight = self.second.weight * maps.mean()
        self.second.forward = lambda maps: F.conv2d(maps, weight)
        return self.readout(self.second(maps).mean((2, 3)))


def test_filters_that_change_are_refused(images):
    model = nn.Sequential(Changing(2, 3, 3), nn.Flatten(), nn.Linear(108, 3)).double().eval()
    with pytest.raises(InputError, match="filters of '0' are not the same in all of its calls"):
        measure(model, images, batch_size=1)
    with pytest.raises(InputError, match="filters of 'second' are computed from the images"):
        measure(Dynamic().double().eval(), images)


def test_a_network_that_is_trained_between_updates_is_refused(images):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, 3)).double().eval()
    accumulator = AgopAccumulator(model)
    accumulator.update(images)
    with torch.no_grad():
        model[0].weight.mul_(1.5)
    with pytest.raises(InputError, match="not the same"):
        accumulator.update(images)
    later = AgopAccumulator(model)
    later.load_state(accumulator.state())
    with pytest.raises(InputError, match="not the same"):
        later.update(images)


def test_a_network_in_train_mode_between_updates_is_refused(images):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 3)).double().eval()
    accumulator = AgopAccumulator(model)
    accumulator.update(images)
    model.train()
    with pytest.raises(InputError, match="train mode"):
        accumulator.update(images[:1])


def test_initial_weights_of_computed_filters_are_refused_unless_measured(images):
    model = nn.Sequential(Standardised(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 3)).double().eval()
    found, state = measure(model, images), {name: value.numpy() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match="'0' computes its filters"):
        summarise(found, initial=state, seed=0)
    table = summarise(found, initial=found, seed=0).set_index("quantity")
    assert table.loc["initial_cnfm", "value"] == pytest.approx(1)


class Hidden(nn.Module):
    """Convolutions that no `Conv2d` of the network runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv2d(2, 3, 3)
        self.scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).double().eval())
        self.traced = torch.jit.trace(nn.Conv2d(3, 3, 1).double().eval(), torch.rand(1, 3, 4, 4).double())
        self.transposed, self.along = nn.ConvTranspose2d(3, 3, 2), nn.Conv1d(3, 3, 3)
        self.kernel, self.readout = nn.Parameter(torch.randn(3, 3, 1, 1)), nn.Linear(3, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.transposed(self.traced(self.scripted(self.seen(images))))
        maps = F.conv2d(maps, self.kernel)
        return self.readout(self.along(maps.flatten(2)).mean(2))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_convolutions_that_are_not_measured_are_named(images):
    model = Hidden().double().eval()
    with pytest.warns(ConvRFMWarning, match="ran and were not measured") as caught:
        found = measure(model, images)
    assert list(found) == ["seen"]
    (message,) = [str(warning.message) for warning in caught if warning.category is ConvRFMWarning]
    for name in (
        "'scripted' (TorchScript)",
        "'traced' (TorchScript)",
        "'transposed' (transposed)",
        "'' (conv2d)",
        "'along' (conv1d)",
    ):
        assert name in message
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvRFMWarning)
        assert set(measure(model, images, layers=["", "along"])) == {"", "along"}
    with pytest.raises(InputError, match="Transposed convolution"):
        measure(model, images, layers=["transposed"])
    with pytest.raises(InputError, match="'scripted' was never called"):
        measure(model, images, layers=["scripted"])


def by_patches(tail, weight, bias, patches) -> np.ndarray:
    """The AGOP with patches `(n, positions, d)` as variables."""
    patches = patches.detach().requires_grad_()
    outputs = tail(patches @ weight.detach().flatten(1).T + bias.detach())
    total = 0
    for index in range(outputs.shape[1]):
        (gradient,) = torch.autograd.grad(outputs[:, index].sum(), patches, retain_graph=True)
        total = total + torch.einsum("npd,npe->de", gradient, gradient)
    return (total / len(patches)).numpy()[None]


def test_other_kinds_of_layers_obey_the_same_equation():
    torch.manual_seed(0)
    n = 3
    series, volumes, rows = (torch.randn(n, *shape).double() for shape in ((2, 9), (2, 4, 5, 4), (5, 7)))

    one = nn.Sequential(nn.Conv1d(2, 4, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)).double().eval()
    patches = series.unfold(2, 3, 2).permute(0, 2, 1, 3).flatten(2)
    expected = by_patches(lambda z: one[1:](z.transpose(1, 2)), one[0].weight, one[0].bias, patches)
    assert_close(measure(one, series, layers=["0"])["0"].agop.dense(), expected, "ansatz")

    three = nn.Sequential(nn.Conv3d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(108, 3)).double().eval()
    patches = volumes.unfold(2, 2, 1).unfold(3, 2, 1).unfold(4, 2, 1).permute(0, 2, 3, 4, 1, 5, 6, 7)
    patches = patches.flatten(4).flatten(1, 3)
    expected = by_patches(
        lambda z: three[1:](z.transpose(1, 2).unflatten(2, (3, 4, 3))), three[0].weight, three[0].bias, patches
    )
    assert_close(measure(three, volumes, layers=["0"])["0"].agop.dense(), expected, "ansatz")

    linear = nn.Sequential(nn.Linear(7, 4), nn.Tanh(), nn.Flatten(), nn.Linear(20, 3)).double().eval()
    expected = by_patches(linear[1:], linear[0].weight, linear[0].bias, rows)
    assert_close(measure(linear, rows, layers=["0", "3"])["0"].agop.dense(), expected, "ansatz")


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature", "ignore:None of the inputs have requires_grad")
def test_checkpoints(images):
    class Checkpointed(nn.Module):
        def __init__(self, model: nn.Module, reentrant: bool) -> None:
            super().__init__()
            self.model, self.reentrant = model, reentrant

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = checkpoint(self.model[:3], self.model_input(images), use_reentrant=self.reentrant)
            return self.model[3:](maps)

        def model_input(self, images: torch.Tensor) -> torch.Tensor:
            return images

    model = ready(network(nn.Conv2d(2, 4, 3)), images)
    expected = measure(model, images)
    found = measure(Checkpointed(model, False).eval(), images)
    for name, layer in expected.items():
        assert_close(found[f"model.{name}"].sums, layer.sums, "ansatz")
    with pytest.raises(InputError, match="use_reentrant"):
        measure(Checkpointed(model, True).eval(), images)


def test_the_exported_graph_of_a_network(images):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).double().eval()
    traced = torch.fx.symbolic_trace(model)
    assert_close(measure(traced, images)["0"].sums, measure(model, images)["0"].sums, "ansatz")


def test_names_are_a_list(images):
    model = nn.ModuleDict({str(i): nn.Conv2d(2, 2, 1) for i in range(4)})
    with pytest.raises(InputError, match="must be a list of names, such as \\['0'\\], but it is '23'"):
        AgopAccumulator(model.eval(), layers="23")
    with pytest.raises(InputError, match="list of names"):
        AgopAccumulator(model.eval(), layers=[1])


class Upstream(nn.Module):
    """Something that requires a gradient, and is no parameter of the network, before one of two uses of a layer."""

    def __init__(self, how) -> None:
        super().__init__()
        self.conv, self.readout, self.how = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4, 3), how
        self.plain = torch.ones(1, 2, 8, 8, dtype=torch.float64, requires_grad=how == "tensor")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        other = images + self.plain
        if self.how == "leaf":
            other = other.detach().clone().requires_grad_()
        maps = torch.tanh(self.conv(images)) + torch.tanh(self.conv(other))
        return self.readout(maps.mean((2, 3)))


@pytest.mark.parametrize("how", ["nothing", "tensor", "leaf"])
def test_other_tensors_that_require_gradients_do_not_matter(how, images):
    torch.manual_seed(0)
    model = Upstream(how).double().eval()
    same = Upstream("nothing").double().eval()
    same.load_state_dict(model.state_dict())
    found = measure(model, images)["conv"]
    assert_close(found.agop.dense(), patch_agop(same, "conv", images).numpy(), "ansatz")
    assert model.plain.grad is None


class Iterated(nn.Module):
    """A layer that is used twice, the first time without gradients, as in deep equilibrium models."""

    def __init__(self, how) -> None:
        super().__init__()
        self.conv, self.readout, self.how = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(2, 3), how

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.readout(torch.tanh(self.conv(images + self.how(self.conv, images))).mean((2, 3)))


class Custom(torch.autograd.Function):
    """A convolution with a backward pass of its own."""

    @staticmethod
    def forward(ctx, images, layer):
        ctx.layer, ctx.shape = layer, images.shape
        return layer(images)

    @staticmethod
    def backward(ctx, gradients):
        return nn.grad.conv2d_input(ctx.shape, ctx.layer.weight, gradients, padding=1), None


@pytest.mark.parametrize("how", [torch.no_grad()(lambda layer, x: layer(x)), lambda layer, x: Custom.apply(layer(x), layer)])
def test_uses_of_a_layer_that_are_not_differentiated_are_refused(how, images):
    with pytest.raises(InputError, match=r"'conv' runs where nothing is differentiated"):
        measure(Iterated(how).double().eval(), images)


class Prototypes(nn.Module):
    """As many prototypes as there may be images go through the layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.register_buffer("support", torch.randn(3, 2, 8, 8))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first, second = (torch.tanh(self.conv(x)).mean((2, 3)) for x in (images, self.support))
        return first @ second.T


def test_a_batch_that_has_as_many_members_as_there_are_images_by_chance(images):
    with pytest.raises(InputError, match=r"'conv' got a batch of shape .* for 1 image, "):
        measure(Prototypes().double().eval(), images)


class Partly(nn.Conv2d):
    """A convolution of which one part cannot be seen."""

    def __init__(self) -> None:
        super().__init__(2, 3, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + torch.ops.aten.convolution(
            images, self.weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1
        )


def test_a_layer_that_is_seen_in_part_is_refused(images):
    model = nn.Sequential(Partly(), nn.Flatten(), nn.Linear(108, 3)).double().eval()
    with pytest.raises(InputError, match=r"'0' run convolutions that are not called through torch\.nn\.functional"):
        measure(model, images)


def test_a_state_belongs_to_its_settings(images):
    layers = (nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(32, 3))
    model = nn.Sequential(*layers).double().eval()
    exact = AgopAccumulator(model)
    exact.update(images)
    for other in (AgopAccumulator(model, "probe"), AgopAccumulator(model, seed=1), AgopAccumulator(model, layers=["0"])):
        with pytest.raises(InputError, match="another network, or was measured with other settings"):
            other.load_state(exact.state())
        assert other.images == 0
    with pytest.raises(InputError, match="another network"):
        AgopAccumulator(model).load_state({})
    new = AgopAccumulator(model)
    new.load_state(AgopAccumulator(model).state())  # of no images
    new.update(images)
    assert np.array_equal(new.finalize()["0"].sums, exact.finalize()["0"].sums)


def test_an_interrupt_leaves_the_network_whole(images):
    class Interrupting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.readout, self.times = nn.Conv2d(2, 4, 3), nn.Linear(4, 3), 1

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.times:
                self.times -= 1
                signal.raise_signal(signal.SIGINT)
                assert not isinstance(self.conv.weight, nn.Parameter)  # just now
            return self.readout(torch.tanh(self.conv(images)).mean((2, 3)))

    model = Interrupting().double().eval()
    handler = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        accumulator = AgopAccumulator(model)
        with pytest.raises(KeyboardInterrupt):
            accumulator.update(images)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert all(isinstance(module.weight, nn.Parameter) for module in (model.conv, model.readout))
    accumulator.update(images)
    assert_close(accumulator.finalize()["conv"].agop.dense(), patch_agop(model, "conv", images).numpy(), "ansatz")
