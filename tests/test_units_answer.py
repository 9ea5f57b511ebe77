"""Units answer: no file asks which type a layer is, and a new type goes through all of them.

The made-up types here derive from `Units` alone. Their mean and draw are those of a case that the
kernels have, so a model of them has the bits of a model of the library's own types wherever nobody
asks for the type; where their answers differ, what asks follows the answers.
"""

import ast
import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_same_bits, whole_rows
from deepgen._kernels import engine
from scipy import sparse

import deepgen as dg
from deepgen.inference.completion import impute
from deepgen.io.schemas import machines
from deepgen.layers.passes import Site
from deepgen.layers.softmax import Softmax
from deepgen.layers.units import Alternatives, Units, check_range
from deepgen.learning.belief_networks import UpDown
from deepgen.learning.machines import Trainer
from deepgen.learning.starts import default_schedule
from deepgen.models import Parameters
from deepgen.rows.batch import Batch
from deepgen.rows.sources import ArrayRows
from deepgen.runtime.stream import IMPUTE
from deepgen.stacks.settings import Pretraining
from deepgen.stacks.trainer import StackTrainer
from deepgen.stacks.unrolling import activation_of

PACKAGE, KERNELS = Path(dg.__file__).parent, Path(__file__).parents[1] / "src" / "_kernels"
TYPES = {"Binary", "Gaussian", "Mixed", "Multinomial", "Softmax"}

# The files that name a unit type, or the kernels' numbers of them, and why they may. None asks.
NAMED_IN = {
    "__init__.py": "public names",
    "layers/binary.py": "its own file",
    "layers/gaussian.py": "its own file",
    "layers/softmax.py": "its own file",
    "layers/mixed.py": "its own file",
    "layers/multinomial.py": "its own file",
    "layers/units.py": "a layer that is linear in its states, for log ratios",
    "layers/named.py": "names of types as users pass them",
    "models/mixture.py": "makes its columns, and a component as one group",
    "models/rating_machine.py": "makes the machine of a row",
    "models/network.py": "the kernels' numbers of activations",
    "io/schemas/machines.py": "how each type stands in a file",
    "estimators/documents.py": "documents are counts, their topics are on or off",
    "estimators/common/labels.py": "makes label units",
    "estimators/common/tables.py": "makes the units of columns",
    "estimators/dbm_settings.py": "makes hidden layers",
    "estimators/dbn.py": "makes hidden layers",
    "estimators/autoencoders.py": "makes hidden layers of a stack, and its code",
    "estimators/supervised.py": "makes hidden layers of a stack",
    "cli/common/building.py": "makes softmax units of an option's text",
}

# Files whose kinds are other things: the type of a setting's value; the sort of a draw (`Site`).
OF_OTHERS = {"cli/common/settings.py", "layers/passes.py"}


# ---------------------------------------------------------------------------- reading the source


def named_types(source):
    """Unit types that a source names, and "KINDS" where it reads the kernels' numbers."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            whole = ast.unparse(node)
            names.add("KINDS" if whole == "engine.KINDS" else node.attr)
    imported = "deepgen._kernels" in source
    return names & TYPES | (names & {"KINDS"} if imported else set())


def questions(source):
    """Places of a source that ask which type some units are, or which kind."""
    found = []
    for node in ast.walk(ast.parse(source)):
        text = ast.unparse(node) if isinstance(node, ast.Call | ast.Compare) else ""
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").startswith("is"):
            if set(re.findall(r"\w+", text)) & TYPES:
                found.append(text)
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            kinds = any(
                isinstance(side, ast.Attribute) and side.attr == "kind"
                and not ast.unparse(side).endswith("dtype.kind") for side in sides
            )
            if kinds or set(re.findall(r"\w+", text)) & TYPES:
                found.append(text)
        elif isinstance(node, ast.Dict):
            keys = {key.id for key in node.keys if isinstance(key, ast.Name)}
            if keys & TYPES:
                found.append(ast.unparse(node))
    return found


def first_block(text):
    """What a C text has between its first brace and the one that closes it."""
    depth = 0
    for end, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return text[:end]
    raise ValueError("a brace is not closed")


def sources():
    """Text of each file of the package, by its place."""
    return {
        path.relative_to(PACKAGE).as_posix(): path.read_text()
        for path in PACKAGE.rglob("*.py") if "_kernels" not in path.parts
    }  # fmt: skip


def test_only_these_files_name_a_unit_type():
    """Would catch a file that a new type has to be taught to, and a reason that is gone."""
    assert {place for place, text in sources().items() if named_types(text)} == set(NAMED_IN)


def test_no_file_asks_which_type_units_are():
    """Would catch an `else` that takes a new type for another one."""
    asked = {place: questions(text) for place, text in sources().items() if place not in OF_OTHERS}
    assert {place: found for place, found in asked.items() if found} == {}


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(layer, Binary | Gaussian)", "type(units) is dg.Softmax", "layer.kind == 0",
        "if KIND == units.kind: pass", "{Binary: 'logistic'}", "isinstance(x, (dg.Gaussian, int))",
    ],
)  # fmt: skip
def test_a_question_is_seen(source):
    """Would catch a search that finds nothing because it looks for nothing."""
    assert questions(source)


def test_kernels_have_a_case_of_each_kind():
    """Would catch a switch whose default does with a new kind what another one asks for."""
    if not KERNELS.exists():
        pytest.skip("the text of the kernels is not here")
    enumerators = {f"DG_{name.upper()}" for name in engine.KINDS}
    switches = 0
    for path in [*KERNELS.glob("*.h"), *KERNELS.glob("*.c")]:
        for body in map(first_block, re.split(r"switch \(\w+->kind\) ", path.read_text())[1:]):
            assert set(re.findall(r"case (DG_\w+):", body)) == enumerators
            assert "default:" not in body
            switches += 1
    assert switches == 5  # mean, draw, log normalizer; base measure; the exact log normalizer


# ---------------------------------------------------------------------------------- made-up types


class Votes(Units):
    """How many of three voters say yes; the kernels' case of three copies of a binary unit."""

    kind = engine.KINDS["binary"]
    state_dtype = np.uint8
    n_states, largest_state = 4, 3
    usual_rate = 0.07

    def alternatives(self):
        states = np.arange(4, dtype=np.uint8)[:, None]
        return Alternatives(sparse.csr_array(states), np.log([1.0, 3.0, 3.0, 1.0]))

    def variance(self, mean):
        mean = mean.astype(np.float64)
        return mean * (1.0 - mean / 3)

    def fitted_to(self, mean, variance, n_rows):
        share = (np.asarray(mean) * n_rows / 3 + 0.5) / (n_rows + 1.0)
        return self.replace(bias=np.log(share / (1.0 - share)))

    def field_of(self, mean):
        share = np.clip(np.asarray(mean, np.float64) / 3, 1e-30, 1 - 1e-16)
        return np.log(share / (1.0 - share)).astype(np.float32)

    def check(self, states, name="X"):
        check_range(states, name, 0, 3, expected="be counts of votes, 0 to 3")


class Choice(Units):
    """One of three things, in three columns; the kernels' softmax case."""

    kind = engine.KINDS["softmax"]
    state_dtype = np.uint8
    group = n_states = 3
    largest_state = 1
    usual_rate = 0.11

    def alternatives(self):
        return Alternatives(sparse.csr_array(np.eye(3, dtype=np.uint8)), np.zeros(3))

    def variance(self, mean):
        mean = mean.astype(np.float64)
        return mean * (1.0 - mean)

    def fitted_to(self, mean, variance, n_rows):
        share = (np.asarray(mean) * n_rows + 1.0 / 3).reshape(-1, 3)
        return self.replace(bias=np.log(share / share.sum(axis=1, keepdims=True)).reshape(-1))

    def field_of(self, mean):
        return np.log(np.maximum(mean, np.exp(-80.0))).astype(np.float32)

    def check(self, states, name="X"):
        check_range(states, name)


class Level(Units):
    """A real number with a precision; the kernels' Gaussian case."""

    kind = engine.KINDS["gaussian"]
    state_dtype = np.float32
    n_states = largest_state = math.inf
    usual_rate = 0.03
    learn_precision = True

    def __init__(self, size=None, *, bias=None, log_precision=None):
        super().__init__(size, bias=bias)
        self.log_precision = self.precision = None
        if self.size is not None:
            given = np.zeros(self.size) if log_precision is None else log_precision
            self.log_precision = np.array(given, np.float32)
            self.precision = np.exp(self.log_precision)

    def parameters(self):
        return {"bias": self.bias, "log_precision": self.log_precision}

    def variance(self, mean):
        return 1.0 / self.precision.astype(np.float64)

    def fitted_to(self, mean, variance, n_rows):
        precision = 1.0 / np.maximum(variance, 1e-6)
        return self.replace(bias=mean * precision, log_precision=np.log(precision))

    def field_of(self, mean):
        return np.asarray(mean, np.float32) * self.precision

    def check(self, states, name="X"):
        check_range(states, name)

    def is_state(self, states):
        return True


REAL = {
    Votes: lambda **arrays: dg.Binary(n_copies=3, **arrays),
    Choice: lambda **arrays: Softmax(3, **arrays),
    Level: dg.Gaussian,
}
SIZES = {Votes: 3, Choice: 6, Level: 3}
CHAINS = [
    (Votes, Votes), (Choice, Votes), (Level, Votes), (Votes, Choice), (Votes, Level),
    (Choice, Level), (Votes, Choice, Votes), (Level, Choice, Votes),
]  # fmt: skip
PAIRS = [types for types in CHAINS if len(types) == 2]


def name_of(types):
    return "-".join(each.__name__ for each in types)


def made_up_and_real(types, seed=0):
    """A model of made-up types, and that of the library's types with the same parameters."""
    rng, made_up, real = np.random.default_rng(seed), [], []
    for each in types:
        arrays = {"bias": rng.normal(0.0, 0.5, SIZES[each])}
        if each is Level:
            arrays["log_precision"] = rng.normal(0.0, 0.3, SIZES[each])
        made_up.append(each(**arrays))
        real.append(REAL[each](**arrays))
    sizes = [layer.size for layer in made_up]
    weights = [rng.normal(0.0, 0.4, pair) for pair in pairwise(sizes)]
    return dg.BoltzmannMachine(made_up, weights), dg.BoltzmannMachine(real, weights)


@pytest.mark.parametrize("types", CHAINS, ids=name_of)
def test_made_up_types_have_the_likelihoods_of_the_kernels_case(types):
    """Would catch an enumeration, an estimate or a bound that asks for the type of a layer."""
    made_up, real = made_up_and_real(types)
    rows = whole_rows(real.layers[0], 7)
    assert dg.exact_log_partition(made_up).value == dg.exact_log_partition(real).value
    assert_same_bits(*(dg.exact_log_likelihood(model, rows) for model in (made_up, real)))
    ais = [dg.ais(model, n_chains=5, n_betas=20, random_state=0) for model in (made_up, real)]
    assert ais[0].value == ais[1].value
    bounds = [
        dg.importance_weighted_bound(model, rows, log_partition=0.0, n_draws=4, random_state=0)
        for model in (made_up, real) if len(types) > 2
    ]  # fmt: skip
    if bounds:
        assert_same_bits(*bounds)
    states = [rows, *[None] * (len(types) - 1)]
    means = [dg.mean_field(model, states).means for model in (made_up, real)]
    for one, other in zip(*means, strict=True):
        assert_same_bits(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("types", PAIRS, ids=name_of)
def test_made_up_types_have_the_answers_of_the_kernels_case(types):
    """Would catch a free energy, a completion or a pseudo-likelihood that asks for the type."""
    made_up, real = made_up_and_real(types)
    rows = whole_rows(real.layers[0], 7)
    assert_same_bits(*(dg.free_energy(model, rows) for model in (made_up, real)))
    missing = np.zeros(rows.shape, np.bool_)
    missing[:, :3] = True
    grey = rows if types[0] is Level else rows * np.float32(0.9)
    for given in (rows, grey):
        completed = [
            impute(model, given, missing, Site(dg.Stream(0), IMPUTE), n_chains=2, n_sweeps=3)
            for model in (made_up, real)
        ]
        for one, other in zip(*completed, strict=True):
            assert_same_bits(one, other)
    if types[0] is Level:
        with pytest.raises(ValueError, match=r"states can be counted, .* got Level ones"):
            dg.pseudo_log_likelihood(made_up, rows)
        return
    for n_sites in (2, None):
        found = [
            dg.pseudo_log_likelihood(model, rows, n_sites=n_sites, random_state=0)
            for model in (made_up, real)
        ]
        assert_same_bits(*found)


@pytest.mark.parametrize("types", PAIRS, ids=name_of)
@pytest.mark.parametrize("rule", [dg.CD(2), dg.PCD(n_particles=10)], ids=["CD", "PCD"])
def test_made_up_types_learn_as_the_kernels_case(types, rule):
    """Would catch a rule, a gradient or an optimizer that asks for the type."""
    learned, models = [], made_up_and_real(types)
    rows = whole_rows(models[1].layers[0], 20)
    for model in models:
        trainer = Trainer(model, rule, dg.SGD(), lambda progress: 0.05, stream=dg.Stream(0))
        for _ in range(3):
            trainer.step(Batch((rows,)), None)
        learned.append(Parameters(trainer.model()).learned())
    assert learned[0].keys() == learned[1].keys()
    for name, array in learned[0].items():
        assert_same_bits(array, learned[1][name])


def test_a_belief_network_of_made_up_types_learns_and_answers():
    """Would catch a recognition weight, or a passage up or down, that asks for the type."""
    networks = []
    for lower, upper in zip(*(made_up_and_real(p) for p in [(Level, Choice), (Choice, Votes)]),
                            strict=True):  # fmt: skip
        layer = dg.BeliefLayer(*lower.layers, lower.weights[0], 0.9 * lower.weights[0])
        networks.append(dg.BeliefNetwork([layer], upper))
    rows = whole_rows(networks[1].visible, 9)
    bounds, refined = [], []
    for network in networks:
        bounds.append(
            dg.importance_weighted_bound(
                network, rows, log_partition=0.0, n_draws=4, random_state=0
            )
        )
        run = UpDown().run(network, stream=dg.Stream(0))
        assert run.schedule(0.0) == 0.01  # Level has no bounds
        run.step(Batch((rows,)), None)
        refined.append(run.parameters.learned())
    assert_same_bits(*bounds)
    for name, array in refined[0].items():
        assert_same_bits(array, refined[1][name])


# ------------------------------------------------------------------- what follows other answers


def test_a_type_that_lacks_an_answer_is_refused_by_name():
    """Would catch a type that is taken for another one because it says nothing."""

    class Half(Units):
        kind, state_dtype = engine.KINDS["binary"], np.uint8

    for lacking in ("largest_state", "n_states", "usual_rate", "variance", "check"):
        with pytest.raises(TypeError, match=f"Half .*{lacking}"):
            Half(3)


def test_a_kind_that_kernels_have_no_case_for_is_refused():
    """Would catch a layer whose mean is what happens to lie in memory."""

    class Unknown(Votes):
        kind = 77

    with pytest.raises(ValueError, match="no kind 77 of units"):
        Unknown(3).mean(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="no kind 77 of units"):
        Unknown(3).log_normalizer(np.zeros((1, 3)))


def test_rates_are_those_of_the_slowest_layer():
    """Would catch a new type that learns at the rate of another one."""
    assert default_schedule([Votes(3), dg.Binary(4)]).start == Votes.usual_rate
    assert default_schedule([dg.Gaussian(3), Votes(3)]).start == dg.Gaussian.usual_rate
    assert default_schedule([dg.Gaussian(3), Level(3)]).start == Level.usual_rate


def test_neighbours_without_bounds_are_refused_by_their_names():
    """Would catch a model without a partition function, of types that are not Gaussian."""
    for layers, names in (
        ([Level(2), Level(2)], "both Level"), ([dg.Gaussian(2), Level(2)], "Gaussian and Level"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"layers\[0\] and layers\[1\] are {names}"):
            dg.BoltzmannMachine(layers, [np.zeros((2, 2))])
        with pytest.raises(ValueError, match="lower and upper must not both be"):
            dg.BeliefLayer(*layers, np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="hidden must not be Gaussian where visible is Level"):
        dg.RBM(visible=Level(), hidden="gaussian").fit(np.zeros((5, 2)))


@pytest.mark.parametrize("visible", [Votes, Choice, Level])
def test_an_rbm_of_made_up_types_fits_samples_and_completes(visible):
    """Would catch an estimator that asks which type its layers are."""
    rows = whole_rows(REAL[visible](bias=np.zeros(SIZES[visible])), 60)
    hidden = Choice() if visible is Level else Votes()
    rbm = dg.RBM(6, visible=visible(), hidden=hidden, n_epochs=2, random_state=0).fit(rows)
    assert (rbm.model_.layers[1].bias[:3] != dg.Binary.hidden_bias).all()  # of another type
    assert rbm.sample(4, n_sweeps=3, random_state=0).dtype == visible.state_dtype
    assert np.isfinite(rbm.score_samples(rows)).all()
    holes = rows.astype(np.float32)
    holes[:, :3] = np.nan
    assert np.isfinite(rbm.impute(holes, n_chains=2, n_sweeps=2, random_state=0)).all()
    again = dg.RBM.from_model(rbm.model_)
    assert type(again.visible) is visible
    rbm.partial_fit(rows)


@pytest.fixture
def in_files(monkeypatch):
    """Rows of the made-up types in the table of the file format."""
    monkeypatch.setitem(machines.UNITS, "votes", machines.UnitSchema(Votes, {}))
    monkeypatch.setitem(machines.UNITS, "choice", machines.UnitSchema(Choice, {}))
    level = machines.UnitSchema(Level, {}, ("bias", "log_precision"))
    monkeypatch.setitem(machines.UNITS, "level", level)


@pytest.mark.parametrize("visible", [Votes, Choice, Level])
def test_stacks_take_made_up_types_at_their_ends(visible, in_files):
    """Would catch a stack that doubles rows of units whose sums are no layer."""
    rows = whole_rows(REAL[visible](bias=np.zeros(SIZES[visible])), 60)
    settings = {"visible": visible(), "n_hidden": (5, 4), "n_epochs": 1, "random_state": 0}
    dg.DBN(**settings).fit(rows)
    dbm = dg.DBM(**settings).fit(rows)
    assert [type(layer) for layer in dbm.model_.layers] == [visible, dg.Binary, dg.Binary]
    assert np.isfinite(dbm.bound(rows)).all()
    with pytest.raises(ValueError, match="cannot have 2 tied copies"):
        visible(3).tied(2)


def test_what_needs_bernoulli_units_refuses_the_others():
    """Would catch grey values, inner layers or starts of units that cannot be that."""
    rows = whole_rows(dg.Binary(bias=np.zeros(3), n_copies=3), 20)
    for estimator in (dg.RBM, dg.DBM):
        with pytest.raises(ValueError, match="binarize needs visible='binary'"):
            estimator(visible=Votes(), binarize=True).fit(rows)
    layers = [dg.Binary(3), Votes(4), dg.Binary(3)]
    with pytest.raises(ValueError, match=r"layers\[1\] must be dg.Binary of one copy"):
        StackTrainer(ArrayRows(rows), layers, Pretraining(), tied=True)
    with pytest.raises(ValueError, match="transposed needs binary units"):
        StackTrainer(ArrayRows(rows), layers, Pretraining(transposed=True))
    machine = dg.BoltzmannMachine(layers, [np.zeros((3, 4)), np.zeros((4, 3))])
    with pytest.raises(ValueError, match="binary hidden layers"):
        dg.DBM.from_model(machine)
    with pytest.raises(ValueError, match="must be Binary units of one copy"):
        dg.DeepClassifier(pretrained=machine).fit(rows, [0, 1] * 10)
    for shared in (Votes(4), dg.Softmax(2, size=4)):  # by the upper machine, which hears two copies
        machines_of = [
            dg.BoltzmannMachine(layers, [np.zeros((layers[0].size, layers[1].size))])
            for layers in ([dg.Binary(3, n_copies=2), dg.Binary(4)], [shared, dg.Binary(2)])
        ]
        with pytest.raises(ValueError, match=r"machines\[1\] of 2 must have binary visible units"):
            dg.compose(machines_of)
    labelled = dg.BoltzmannMachine(
        [dg.Binary(3), dg.Binary(4), Choice(3)], [np.zeros((3, 4)), np.zeros((4, 3))],
        observed=(0, 2),
    )  # fmt: skip
    with pytest.raises(ValueError, match="one softmax group on top"):
        dg.DBM.from_model(labelled)


def test_networks_take_types_whose_mean_an_activation_is():
    """Would catch an output layer that stands for other units than those that were asked for."""
    rows = whole_rows(dg.Binary(bias=np.zeros(3), n_copies=3), 20)
    with pytest.raises(ValueError, match=r"visible must be units whose mean .*Votes\(size=3"):
        dg.Autoencoder(2, visible=Votes()).fit(rows)
    machine = dg.BoltzmannMachine([dg.Binary(3), Votes(4)], [np.zeros((3, 4))])
    with pytest.raises(ValueError, match="layer 1 of machine 0 must be units whose mean"):
        dg.encoder([machine])

    class Coin(Votes):
        n_states, largest_state, activation = 2, 1, "logistic"

    assert activation_of(Coin(4), "hidden") == ("logistic", None)
    machine = machine.replace(layers=[dg.Binary(3), Coin(4)])
    states = rows % 2
    mean = dg.RBM.from_model(machine).transform(states)
    assert_same_bits(dg.encoder([machine]).forward(states), mean)
    dg.Autoencoder(2, visible=Coin(), n_epochs=1, random_state=0).fit(states)


def test_files_and_stacks_refuse_a_type_without_a_schema(tmp_path):
    """Would catch a type that is saved as another one, or a stack that fails half-way."""
    model, _ = made_up_and_real((Level, Votes))
    with pytest.raises(ValueError, match=r"layers\[0\] is a Level, which the file format does not"):
        dg.RBM.from_model(model).save(tmp_path / "model")
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    with pytest.raises(ValueError, match=r"layers\[0\] is a Level, which the file format does not"):
        StackTrainer(ArrayRows(rows), [Level(3), dg.Binary(3), dg.Binary(2)], Pretraining())


def test_files_know_a_type_by_one_row(tmp_path, in_files):
    """Would catch a type whose file needs more than its schema."""
    model, _ = made_up_and_real((Level, Votes))
    dg.RBM.from_model(model).save(tmp_path / "model")
    again = dg.load(tmp_path / "model").model_
    assert [type(layer) for layer in again.layers] == [Level, Votes]
    assert_same_bits(again.layers[0].precision, model.layers[0].precision)
    assert_same_bits(again.layers[1].bias, model.layers[1].bias)


def test_early_stopping_refuses_rows_without_a_pseudo_likelihood():
    """Would catch a run that fails in its first epoch, and not before any work."""
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    rbm = dg.RBM(2, visible=Level(), callbacks=[dg.EarlyStopping(rows)])
    with pytest.raises(ValueError, match="rows of Level units have no pseudo-likelihood"):
        rbm.fit(rows)


def test_particles_without_bounds_that_run_away_are_seen():
    """Would catch a run of a new real type that goes on with particles of 1e30."""
    model, _ = made_up_and_real((Level, Votes))
    trainer = Trainer(
        model, dg.PCD(n_particles=4), dg.SGD(), lambda progress: 0.01, stream=dg.Stream(0)
    )
    trainer._check_particles()
    trainer.rule_state.particles.states[0][0, 0] = 1e12
    with pytest.raises(dg.DivergedError, match=r"particles\[0\]"):
        trainer._check_particles()
