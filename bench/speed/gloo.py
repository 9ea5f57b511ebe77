"""The same updates by PyTorch, whose processes add their gradients through gloo.

Started by ``bench.speed mpi``, a process for each rank; see `mpi.py` for what is timed.
"""

import json
import os
import sys
import time

from bench.speed import peers
from bench.speed.data import N_PIXELS
from bench.speed.peers import N_HIDDEN


def updates(rule, n_rows, n_updates, n_processes):
    """Return when each update was over, and the seconds spent in sums until then.

    Parameters
    ----------
    rule : {"cd", "pcd"}
        CD-1; or PCD-1 with as many particles as rows, which draw visible states from hidden ones.
    n_rows : int
        Of this process, of one update.
    n_updates : int
    n_processes : int
        0: no process group.

    Returns
    -------
    list of tuple (float, float)
    """
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    if n_processes:
        distributed.init_process_group("gloo")
    torch.manual_seed(rank)
    rows = torch.randint(0, 2, (8 * n_rows, N_PIXELS), dtype=torch.uint8).to(torch.float32)
    torch.manual_seed(0)
    weights = 0.01 * torch.randn(N_PIXELS, N_HIDDEN)
    visible_bias, hidden_bias = torch.zeros(N_PIXELS), torch.zeros(N_HIDDEN)
    optimizer = peers.torch_optimizer(weights, visible_bias, hidden_bias)
    torch.manual_seed(1 + rank)
    # one message an update, of which the gradients are views
    buffer = torch.zeros(weights.numel() + N_PIXELS + N_HIDDEN)
    weights.grad, visible_bias.grad, hidden_bias.grad = (
        part.view_as(of)
        for part, of in zip(
            buffer.split([weights.numel(), N_PIXELS, N_HIDDEN]),
            (weights, visible_bias, hidden_bias), strict=True,
        )
    )  # fmt: skip

    def sample(mean):  # 2 to 3 times as fast as torch.bernoulli on a CPU
        return torch.lt(torch.rand_like(mean), mean).to(torch.float32)

    particles, marks, in_sums = sample(torch.full((n_rows, N_HIDDEN), 0.5)), [], 0.0
    with torch.no_grad():
        for number in range(n_updates):
            if number % 8 == 0:
                order = torch.randperm(len(rows)).split(n_rows)
            v_data = rows[order[number % 8]]
            h_data = torch.addmm(hidden_bias, v_data, weights).sigmoid_()
            above = sample(h_data) if rule == "cd" else particles
            v_model = sample(torch.addmm(visible_bias, above, weights.T).sigmoid_())
            h_model = torch.addmm(hidden_bias, v_model, weights).sigmoid_()
            if rule == "pcd":
                particles = sample(h_model)
            torch.mm(v_data.T, h_data, out=weights.grad)
            weights.grad.addmm_(v_model.T, h_model, alpha=-1)
            visible_bias.grad.copy_((v_data - v_model).sum(dim=0))
            hidden_bias.grad.copy_((h_data - h_model).sum(dim=0))
            if n_processes:
                began = time.perf_counter()
                distributed.all_reduce(buffer)
                in_sums += time.perf_counter() - began
            buffer /= n_rows * max(n_processes, 1)
            optimizer.step()
            marks.append((time.perf_counter(), in_sums))
    if n_processes:
        distributed.destroy_process_group()
    return marks


if __name__ == "__main__":
    print(json.dumps(updates(*json.loads(sys.argv[1]))))
