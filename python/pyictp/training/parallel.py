# SPDX-License-Identifier: MIT
"""Several processes of one training, as torchrun starts them.

Every process holds the whole model, takes its share of the structures of every batch and adds its
gradients to those of the others: the loss is a sum over structures, so the step is that of one
process with the whole batch.

Gradients are summed by one all_reduce after the backward pass, not by DistributedDataParallel. That
one gives the same gradients here, double backward and compiled operators included (measured: within
1e-15 in float64), but it sends inside of the backward pass: a process whose share of a batch is
empty, or whose share failed, would leave the others waiting, and parameters that no derivative
reaches are an error. Here processes first agree that all went well. What is lost, the overlap of
sending with computing, is little: the gradients are a few megabytes.

What is decided on the host (signals, time, errors) goes over gloo between the CPUs also where the
gradients go over nccl, so that no GPU is waited for.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pyictp.errors import UserError


class OtherProcessFailed(SystemExit):
    """Ends this process without a word: the one that failed has said why."""

    def __init__(self) -> None:
        super().__init__(1)


@dataclass(frozen=True)
class Processes:
    """This process among the others; all but `device` is collective: called by all, or it hangs."""

    index: int = 0  # of this process among all
    size: int = 1
    local_index: int = 0  # of this process on its machine, the number of its GPU

    @property
    def is_first(self) -> bool:
        """Return whether this is the process that writes, prints and draws."""
        return self.index == 0

    def device(self, name: str) -> str:
        """Return the name of the device for this process: with several, each has its own GPU.

        Raises:
            UserError: one GPU is named for several processes, or there are too few.
        """
        if self.size == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return name
        if name not in ("auto", "cuda"):
            raise UserError(
                f"training.device is '{name}': several processes take cpu, cuda or auto"
            )
        if self.local_index >= torch.cuda.device_count():
            raise UserError(
                f"process {self.local_index + 1} on this machine has no GPU, torch sees "
                f"{torch.cuda.device_count()}: start as many processes with --nproc-per-node"
            )
        torch.cuda.set_device(self.local_index)
        return f"cuda:{self.local_index}"

    def largest(self, *values: float) -> list[float]:
        """Return the largest of each value over the processes; a GPU is not waited for."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        with _connected():
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.tolist()

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add the tensors of all processes, in place; return it."""
        if self.size > 1:
            with _connected():
                dist.all_reduce(tensor)
        return tensor

    def sum_attributes(self, record: object) -> None:
        """Add the tensors and numbers that an object holds to those of the other processes."""
        for name, value in vars(record).items() if self.size > 1 else ():
            total = self.sum_(torch.as_tensor(value))
            setattr(record, name, total if isinstance(value, Tensor) else total.item())

    def sum_gradients(self, parameters: Sequence[nn.Parameter], used: Sequence[bool]) -> None:
        """Add the gradients of all processes, as one tensor; none counts as zero.

        Args:
            parameters: of one dtype, on one device.
            used: which of them have a gradient on some process; the others keep None.
        """
        if self.size == 1:
            return
        chosen = [p for p, is_used in zip(parameters, used, strict=True) if is_used]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in chosen]
        flat = self.sum_(torch.cat([part.reshape(-1) for part in parts]))
        sizes = [p.numel() for p in chosen]
        for parameter, part in zip(chosen, flat.split(sizes), strict=True):
            parameter.grad = part.view_as(parameter)

    def copy_first(self, module: nn.Module) -> None:
        """Give every process the parameters and buffers of the first."""
        if self.size > 1:
            with _connected(), torch.no_grad():
                for tensor in [*module.parameters(), *module.buffers()]:
                    dist.broadcast(tensor, 0)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run a block that calls no other method; if it fails anywhere, it fails everywhere.

        Raises:
            OtherProcessFailed: here it went well, or an earlier process says what is wrong.
        """
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            if self.size == 1:
                raise
            failure = error
        (before_end,) = self.largest(0.0 if failure is None else float(self.size - self.index))
        if failure is not None and before_end == self.size - self.index:
            raise failure
        if before_end:
            raise OtherProcessFailed


SINGLE = Processes()


@contextlib.contextmanager
def start() -> Iterator[Processes]:
    """Yield the processes that torchrun started, or the lone one; leave them at the end.

    Raises:
        UserError: they do not find each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield SINGLE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"the processes of this training do not find each other ({error}): start them with "
            "torchrun"
        ) from error
    try:
        local_index = int(os.environ.get("LOCAL_RANK", "0"))
        yield Processes(dist.get_rank(), dist.get_world_size(), local_index)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise UserError(
            "the connection to another process of this training is lost (was it killed, for want "
            "of memory?): start again with --resume"
        ) from error


def shares(costs: Sequence[int], num_shares: int) -> list[list[int]]:
    """Return which items each process takes, so that the sums of their costs are about equal.

    The largest item left goes to the share with the least: never above 4/3 of the best possible.

    Args:
        costs: of each item, for example its number of edges.
        num_shares: number of processes.

    Returns:
        One ascending list of item numbers per process; it may be empty.
    """
    if num_shares == 1:
        return [list(range(len(costs)))]
    result: list[list[int]] = [[] for _ in range(num_shares)]
    loads = [0] * num_shares
    for item in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        # the shorter one of two equal loads: items may cost nothing
        least = min(range(num_shares), key=lambda share: (loads[share], len(result[share])))
        result[least].append(item)
        loads[least] += costs[item]
    return [sorted(items) for items in result]
