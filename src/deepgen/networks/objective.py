"""Objectives of networks: a loss, penalties, and noise in the inputs."""

from dataclasses import dataclass

import numpy as np

from deepgen.checks import check_instance, check_integer, check_number, shown
from deepgen.layers.named import real_columns
from deepgen.layers.units import LARGEST_VALUE, Units
from deepgen.models import backprop
from deepgen.networks.losses import Loss, RowLoss, check_row_loss, starting_parameters
from deepgen.networks.smoothness import VirtualAdversarial
from deepgen.rows.states import dense
from deepgen.runtime.work import ANY_WORK, Work

# Rows of one pass where a whole data set goes through.
PASS_ROWS = 2_048


@dataclass(frozen=True)
class FieldNoise:
    """Normal noise that is added to the field of one layer while a network learns.

    A logistic layer of few units, whose outputs are to tell much in spite of it, learns fields far
    from zero: its outputs become binary (Salakhutdinov & Hinton 2009, "Semantic hashing"). They
    drew the noise of a row once; here it is drawn anew in each update.

    Parameters
    ----------
    layer : int
        Number of the layer, from 0.
    deviation : float
        Standard deviation of the noise.
    """

    layer: int
    deviation: float

    def __post_init__(self):
        check_integer(self.layer, "layer", 0)
        check_number(self.deviation, "deviation", 0.0)

    def draw(self, network, n_rows, stream, first_row=0):
        """Return the noise of some rows by layer, which a forward pass adds to the fields.

        Parameters
        ----------
        network : Network or NetworkParameters
        n_rows : int
        stream : Stream
            At the position of the update.
        first_row : int, default 0
            Number of the first row in the whole batch.
        """
        size = network.layers[self.layer].size
        normal = real_columns(size).sample(
            np.zeros((n_rows, size), np.float32), stream.child("field noise"),
            first_row=first_row,
        )
        return {self.layer: np.float32(self.deviation) * normal}


@dataclass(frozen=True)
class Reconstruction:
    """A second loss: the layers above a code rebuild the rows from it, labelled ones or not.

    With it the loss of an :class:`Objective` judges the code, not the last layer. So rows without
    a target shape a code that is learned from few (Salakhutdinov & Hinton 2007, "Learning a
    nonlinear embedding by preserving class neighbourhood structure", section 3).

    Parameters
    ----------
    layer : int
        Number of the layer that is the code, from 0; it must be linear, and not the last.
    units : Units
        What the rows are: they say what a row's outputs without an error are.
    loss : RowLoss
        Of the last layer; such as cross-entropy, in nats a row, where its outputs are logistic.
    weight : float
        Factor of the mean of this loss over the rows of a batch.
    """

    layer: int
    units: Units
    loss: RowLoss
    weight: float

    def __post_init__(self):
        check_integer(self.layer, "layer", 0)
        check_instance(self.units, "units", Units, "units such as dg.Binary(784)")
        check_row_loss(self.loss, "reconstruction")
        check_number(self.weight, "weight", 0.0, LARGEST_VALUE)

    def check(self, network):
        """Raise ValueError unless a network has such a code, and its outputs can be the rows."""
        if self.layer >= network.n_layers - 1:
            raise ValueError(
                f"the code that reconstruction starts from must be one of the layers 0 to "
                f"{network.n_layers - 2}, below the last one, got layer {self.layer}"
            )
        activation = network.layers[self.layer].activation
        if activation != "linear":
            raise ValueError(
                "the code that reconstruction starts from must be a linear layer, got layer "
                f"{self.layer} of {activation} units"
            )
        if network.sizes[-1] != self.units.size:
            raise ValueError(
                f"reconstruction needs a last layer of {self.units.size} units, as the rows have, "
                f"got {network.sizes[-1]}"
            )

    def evaluate(self, layer, field, batch):
        """Return `weight` times the loss of the rebuilt rows, and its gradient by their field.

        Parameters
        ----------
        layer : NetworkLayer
            The last one.
        field : ndarray of shape (n_rows, n_columns)
        batch : Batch
            Of the rows; their weights count.
        """
        weights = np.full(len(field), self.weight)
        if batch.weights is not None:
            weights *= batch.weights
        return self.loss.weighted(layer, field, self.units.target_of(batch.states[0]), weights)


@dataclass(frozen=True)
class Objective:
    """The function that training makes small: a loss, penalties, and random omissions.

    Parameters
    ----------
    loss : Loss
    l2 : float, default 0.0
        ``l2 / 2`` times the sum of all squared weights; tied ones count once.
    l1 : float, default 0.0
        Times the sum of the hidden units' absolute activities, mean over rows.
    dropout, input_dropout : float, default 0.0
        Share of the hidden units and of the inputs that is left out of an update (Srivastava et
        al. 2014).
    masking : float, default 0.0
        Share of the inputs that is set to zero; the target stays whole (Vincent et al. 2008).
    input_noise : float, default 0.0
        Standard deviation of normal noise that is added to the inputs of an update, in units of
        the inputs; of standardized ones where a run standardizes them (Bishop 1995, "Training
        with noise is equivalent to Tikhonov regularization").
    smoothness : VirtualAdversarial or None
        A penalty on outputs that change where inputs move a little, of rows without a target too.
    noise : FieldNoise or None
        Noise in the fields of one layer.
    reconstruction : Reconstruction or None
        A decoder's loss beside `loss`, which then judges the code below the decoder.
    """

    loss: Loss
    l2: float = 0.0
    l1: float = 0.0
    dropout: float = 0.0
    input_dropout: float = 0.0
    masking: float = 0.0
    input_noise: float = 0.0
    smoothness: VirtualAdversarial | None = None
    noise: FieldNoise | None = None
    reconstruction: Reconstruction | None = None

    def __post_init__(self):
        check_instance(self.loss, "loss", Loss, "a loss such as dg.SquaredError()")
        for name in ("dropout", "input_dropout", "masking"):
            check_number(getattr(self, name), name, 0.0, 1.0, closed=True)
        for name in ("l1", "l2", "input_noise"):
            check_number(getattr(self, name), name, 0.0, closed=True)
        if not isinstance(self.smoothness, VirtualAdversarial | None):
            raise ValueError(
                "smoothness must be None or dg.VirtualAdversarial(...), got "
                f"{shown(self.smoothness)}"
            )
        if not isinstance(self.noise, FieldNoise | None):
            raise ValueError(f"noise must be None or dg.FieldNoise(...), got {shown(self.noise)}")
        if not isinstance(self.reconstruction, Reconstruction | None):
            raise ValueError(
                "reconstruction must be None or dg.Reconstruction(...), got "
                f"{shown(self.reconstruction)}"
            )
        if self.reconstruction is not None and self.smoothness is not None:
            raise ValueError(
                "smoothness judges the last layer, which with reconstruction rebuilds the rows: "
                "leave one of them out"
            )

    def check(self, activation):
        """Raise ValueError unless loss and penalty fit the last layer's activation."""
        if self.reconstruction is None:
            self.loss.check(activation)
        else:
            self.reconstruction.loss.check(activation)
            self.loss.check("linear")
        if self.smoothness is not None:
            self.smoothness.check(activation)

    @property
    def is_random(self):
        """Whether an update leaves out units or adds noise; moves of `smoothness` do not count."""
        leaves_out = self.dropout or self.input_dropout or self.masking
        return bool(leaves_out or self.input_noise or self.noise is not None)

    def evaluate(
        self, network, batch, *, loss_parameters=None, stream=None, first=0, work=ANY_WORK
    ):
        """Return the value and its gradient by name.

        Parameters
        ----------
        network : Network or NetworkParameters
        batch : Batch
            Of states of shape (n_rows, n_inputs), with a target as the loss takes it. Weights by
            row count in the loss alone, which must be a :class:`RowLoss`.
        loss_parameters : dict of {str: ndarray} or None
            What the loss has learned, see :meth:`deepgen.NetworkTrainer.loss_parameters`. None:
            where it starts from.
        stream : Stream or None
            At the position of the update; None: nothing is left out, no input moves.
        first : int, default 0
            Layers below it get no gradient.
        work : Work

        Returns
        -------
        tuple of (float, dict of {str: ndarray})
            Gradients by what the loss learns are named ``"loss.<name>"``.
        """
        X = network.read(batch.states[0])
        if loss_parameters is None:
            loss_parameters = starting_parameters(self.loss)
        activities = self._forward(network, X, stream, batch.first_row, work)
        decoder, last, inner = self.reconstruction, network.layers[-1], None
        if decoder is None:
            about = (last, activities.field)
        else:  # the code is a linear layer, whose output is its field
            about = (network.layers[decoder.layer], activities.outputs[decoder.layer + 1])
        value, gradient, of_loss = self._judged(*about, batch, loss_parameters)
        if decoder is not None:
            inner = {decoder.layer: gradient}
            more, gradient = decoder.evaluate(last, activities.field, batch)
            value += more
        l1 = self.l1 / max(len(activities.field), 1)
        if l1:
            hidden = activities.outputs[1:]
            value += l1 * sum(float(np.abs(h).sum(dtype=np.float64)) for h in hidden)
        gradients = backprop.backward(
            network, activities, gradient, inner=inner, first=first, l1=l1, work=work
        )
        if self.l2:
            arrays = network.learned(first)
            for name, array in arrays.items():
                if name.startswith("weights"):
                    value += 0.5 * self.l2 * float(np.square(array).sum(dtype=np.float64))
                    gradients[name] += np.float32(self.l2) * array
        if self.smoothness is not None and stream is not None:
            field = activities.field
            if self.is_random:
                field = backprop.forward(network, X, work=work).field
            more, slopes = self.smoothness.evaluate(
                network, X, field, stream=stream, first_row=batch.first_row, first=first,
                work=work,
            )  # fmt: skip
            value += more
            for name, slope in slopes.items():
                gradients[name] += slope
        return value, gradients | of_loss

    def _forward(self, network, X, stream, first_row, work):
        """Return the activities of rows, with what an update at this position leaves out or adds.

        Without a stream they are those of the network as it is.
        """
        dropout = noise = None
        if stream is not None and (self.dropout or self.input_dropout or self.masking):
            dropout = backprop.Dropout(
                stream, self.input_dropout, self.dropout, self.masking, first_row
            )
        if stream is not None and self.noise is not None:
            noise = self.noise.draw(network, X.shape[0], stream, first_row)
        if stream is not None and self.input_noise:
            X, columns = dense(X), real_columns(X.shape[1])
            normal = columns.sample(
                np.zeros(X.shape), stream.child("input noise"), first_row=first_row
            )
            X = X + np.float32(self.input_noise) * normal
        return backprop.forward(network, X, dropout=dropout, noise=noise, work=work)

    def _judged(self, layer, field, batch, loss_parameters):
        """Return the value of the loss, its gradient by the field of a layer, and by parameters."""
        if batch.weights is None:
            value, gradient, of_loss = self.loss.evaluate(
                layer, field, batch.target, loss_parameters
            )
        else:
            check_row_loss(self.loss, "weights by row")
            value, gradient = self.loss.weighted(layer, field, batch.target, batch.weights)
            of_loss = {}
        of_loss = self._checked(of_loss, loss_parameters)
        gradient = np.ascontiguousarray(gradient, np.float32)
        if gradient.shape != field.shape:  # a kernel would read beyond it
            raise ValueError(
                f"the gradient of {self.loss!r} by the field must have the shape of the field, "
                f"{field.shape}, got {gradient.shape}"
            )
        return value, gradient, of_loss

    def _checked(self, gradients, parameters):
        """Return the gradients by what the loss learns as kernels read them, after a check."""
        if gradients.keys() != parameters.keys():
            raise ValueError(
                f"{self.loss!r} must return gradients by what it learns, {sorted(parameters)}, "
                f"got {sorted(gradients)}"
            )
        checked = {}
        for name, gradient in gradients.items():
            array = np.array(gradient, np.float32, ndmin=1)
            if array.shape != parameters[name].shape:
                raise ValueError(
                    f"the gradient of {self.loss!r} by {name} must have shape "
                    f"{parameters[name].shape}, got {array.shape}"
                )
            checked[f"loss.{name}"] = array
        return checked


def loss_by_row(network, loss, rows, *, n_threads=None):
    """Return the loss of each row, float64 of shape (n_rows,).

    Parameters
    ----------
    network : Network or NetworkParameters
    loss : RowLoss
    rows : PairedRows

    Raises
    ------
    ValueError
        If the loss is no mean over rows.
    """
    check_row_loss(loss, "the loss of each row")
    work, last = Work(n_threads=n_threads).reusing(), network.layers[-1]
    by_row = []
    for batch in rows.in_order(PASS_ROWS):
        read = network.read(batch.states[0])
        field = backprop.forward(network, read, work=work).field
        by_row.append(loss.by_row(last, field, batch.target)[0])
    return np.concatenate(by_row) if by_row else np.empty(0)
