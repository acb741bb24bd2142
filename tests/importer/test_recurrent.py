"""LSTM, GRU and RNN over sequences of fixed length, against torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgenet.converter.importer import import_module, recurrent
from edgenet.converter.passes import optimize
from tests.importer.agreement import agreement, check
from tests.importer.modules import Apply, operations
from tests.importer.test_unsupported import refused

KINDS = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
    "rnn relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
OPTIONS = {
    "one layer": {},
    "two layers": {"num_layers": 2},
    "both directions": {"bidirectional": True},
    "two layers in both directions": {"num_layers": 2, "bidirectional": True},
    "without bias": {"bias": False},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs(kind, options):
    layer = KINDS[kind](6, 5, batch_first=True, **OPTIONS[options])
    module = Apply(lambda m, x: m.layer(x)[0], layer=layer)
    graph = optimize(check(module, (4, 6)))
    assert agreement(graph, module, (torch.randn(2, 4, 6),)) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_sequence_first(kind):
    check(Apply(lambda m, x: m.layer(x.transpose(0, 1))[0].transpose(0, 1), layer=KINDS[kind](6, 5)), (4, 6))


@pytest.mark.parametrize("batch_first", [True, False])
def test_last_states(batch_first):
    def forward(m, x):
        hidden, cell = m.layer(x if batch_first else x.transpose(0, 1))[1]
        return torch.cat([hidden[-1], hidden[-2], cell[0]], 1)

    check(Apply(forward, layer=nn.LSTM(6, 5, 2, batch_first=batch_first)), (3, 6))


def test_initial_states():
    def forward(m, x):
        start = m.start[:, None].expand(1, x.shape[0], 5).contiguous()
        return m.gru(x, start)[0] + m.lstm(x, (start, start * 2))[0] + m.rnn(x, start)[0]

    layers = {"gru": nn.GRU(6, 5, batch_first=True), "lstm": nn.LSTM(6, 5, batch_first=True)}
    check(Apply(forward, rnn=nn.RNN(6, 5, batch_first=True), start=nn.Parameter(torch.randn(1, 5)), **layers), (3, 6))


def test_text_from_pictures():
    """A convolutional network whose columns a bidirectional LSTM reads, as for optical character recognition."""

    def forward(m, x):
        x = m.features(x).squeeze(2).permute(2, 0, 1)
        return m.head(m.lstm(x)[0]).log_softmax(2).permute(1, 0, 2)

    features = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 7)))
    module = Apply(forward, features=features, lstm=nn.LSTM(8, 6, 2, bidirectional=True), head=nn.Linear(12, 4))
    graph = optimize(check(module, (1, 12, 28)))
    assert "matmul" not in operations(graph)
    assert agreement(graph, module, (torch.randn(3, 1, 12, 28),)) < 1e-4


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_program_for_one_sample(batch_first):
    def forward(m, x):
        return m.layer(x)[0][:, -1] if batch_first else m.layer(x.transpose(0, 1))[0][-1]

    module, x = Apply(forward, layer=nn.GRU(6, 5, batch_first=batch_first)).eval(), torch.randn(1, 4, 6)
    graph = optimize(import_module(torch.export.export(module, (x,))))
    assert agreement(graph, module, (x,)) < 1e-4


def test_cells():
    def forward(m, x):
        hidden, cell = x[:, 0], x[:, 1]
        outputs = []
        for time in range(3):
            hidden, cell = m.lstm(x[:, time], (hidden, cell))
            hidden = m.rnn(m.gru(x[:, time], hidden), hidden)
            outputs.append(hidden)
        return torch.stack(outputs, 0).transpose(0, 1)

    module = Apply(forward, lstm=nn.LSTMCell(6, 6), gru=nn.GRUCell(6, 6), rnn=nn.RNNCell(6, 6, bias=False))
    check(module, (3, 6))


REFUSED = {
    "projections": (nn.LSTM(6, 5, batch_first=True, proj_size=3), "use proj_size=0"),
    "sequence before samples": (nn.GRU(6, 5), "batch_first=True"),
    "long": (nn.GRU(6, 5, num_layers=2, batch_first=True), "use a shorter sequence"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_cannot_be_converted(monkeypatch, name):
    """The sequence has 3 places. torch takes a minute to export as many steps as are too many."""
    monkeypatch.setattr(recurrent, "MOST_STEPS", 5)
    layer, message = REFUSED[name]
    assert message in refused(Apply(lambda m, x: m.layer(x)[0], layer=layer), (3, 6))


@pytest.mark.parametrize("batch_first", [True, False])
def test_states_that_depend_on_the_input(batch_first):
    def forward(m, x):
        y = x if batch_first else x.transpose(0, 1)
        first = x[:, :2].transpose(0, 1).contiguous()
        return m.gru(y, first)[1].transpose(0, 1) + m.lstm(y, (first, first * 2))[1][1].transpose(0, 1)

    layers = {name: kind(6, 6, 2, batch_first=batch_first) for name, kind in (("gru", nn.GRU), ("lstm", nn.LSTM))}
    check(Apply(forward, **layers), (3, 6))


def test_steps_are_cut_from_one_product_with_all_inputs():
    found = operations(
        optimize(check(Apply(lambda m, x: m.layer(x)[0], layer=nn.LSTM(6, 5, batch_first=True)), (9, 6)))
    )
    assert found.count("linear") == 1 + 8
