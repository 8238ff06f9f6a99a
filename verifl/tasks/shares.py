"""Which of a client's samples a process takes, where several train one client."""

from __future__ import annotations


def share(samples: int) -> range:
    """The indices of this process's part of so many samples: as many for each process, so that all take as many steps;
    what does not divide is left out. All of them where one process trains.

        own = verifl.share(len(labels))
        features, labels = features[own], labels[own]
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return range(samples)
    processes = dist.get_world_size()
    return range(dist.get_rank(), samples // processes * processes, processes)
